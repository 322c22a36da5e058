// Everything that a forward pass carries from one layer to the next. It is explicit so that a pass
// can stop between two layers, continue later, and drop sequences.
#ifndef HOOKWIRE_MODEL_TEXT_PASS_STATE_H_
#define HOOKWIRE_MODEL_TEXT_PASS_STATE_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "absl/types/span.h"
#include "model/config/config.h"
#include "model/text/needed_rows.h"
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
  // Rows that are not needed leave the tensors below (LeaveRows), but for shared_key_values.
  NeededRows needed;
  // The residual stream that enters next_layer: [rows, d_model].
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

// Calls `f` with each Ragged of the state; keys and values are none.
template <typename F>
void ForEachRagged(PassState& state, F&& f) {
  f(state.hidden);
  f(state.per_layer_inputs);
  for (RotaryTable& table : state.rotary) {
    f(table.cos);
    f(table.sin);
  }
}

// Drops all other sequences from the pass; `sequences` is ascending and not empty.
void KeepSequences(PassState& state, const std::vector<int>& sequences);

// Drops the rows that are not needed at this place or later (NeededRows::At) from the state, and
// from `also`, whose layout is the state's. Of a sequence of which nothing is needed one row stays,
// which counts as its first: so none is empty.
void LeaveRows(PassState& state, int layer, Place place, absl::Span<Ragged* const> also = {});

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PASS_STATE_H_
