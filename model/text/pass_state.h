// Everything that a forward pass carries from one layer to the next. It is explicit so that a pass
// can stop between two layers, continue later, and drop sequences.
#ifndef HOOKWIRE_MODEL_TEXT_PASS_STATE_H_
#define HOOKWIRE_MODEL_TEXT_PASS_STATE_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "model/config/config.h"
#include "model/text/ragged.h"

namespace hookwire::model {

// Keys and values of one sequence, as attention reads them.
struct KeyValues {
  at::Tensor keys;    // [pos, key_value_head, d_head], after norm and rope
  at::Tensor values;  // [pos, key_value_head, d_head], after norm
};

// Rotary factors of one layer type, for the rows of a Ragged.
struct RotaryTable {
  Ragged cos;  // [rows, d_head]
  Ragged sin;  // [rows, d_head]
};

struct PassState {
  Layout layout;
  // The residual stream that enters next_layer: [rows, d_model]. Rows may have been dropped here,
  // in per_layer_inputs and in rotary (TextModel::DropUnread); keys and values keep all rows.
  Ragged hidden;
  // [rows, n_layers, d_per_layer_input]; empty on models without per-layer embeddings.
  Ragged per_layer_inputs;
  // By layer type; empty until the first layer runs, or until a hook wants them (has_rotary).
  std::array<RotaryTable, kNumLayerTypes> rotary;
  bool has_rotary = false;
  // By layer type and sequence: for the layers that use another layer's keys and values.
  std::array<std::vector<KeyValues>, kNumLayerTypes> shared_key_values;
  int next_layer = 0;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PASS_STATE_H_
