// The text path's weights, found by the adapter's module paths and checked against config.json.
#ifndef HOOKWIRE_MODEL_TEXT_WEIGHTS_H_
#define HOOKWIRE_MODEL_TEXT_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/experts.h"
#include "model/nn/linear.h"
#include "model/text/parameters.h"
#include "model/text/placement.h"

namespace hookwire::model {

struct PerLayerWeights {
  Linear gate;           // [d_per_layer_input, d_model]
  Linear projection;     // [d_model, d_per_layer_input]
  at::Tensor post_norm;  // [d_model]
};

struct MixtureWeights {
  RouterWeights router;
  ExpertWeights experts;
  at::Tensor post_norm_1;  // [d_model], as the next two
  at::Tensor pre_norm_2;
  at::Tensor post_norm_2;
};

struct LayerWeights {
  at::Tensor ln1;  // [d_model], as the next three
  at::Tensor ln1_post;
  at::Tensor ln2;
  at::Tensor ln2_post;
  Linear q;           // [head × d_head, d_model]
  Linear k;           // [key_value_head × d_head, d_model]; undefined where shared
  Linear v;           // as k; undefined where shared, and where K==V
  Linear o;           // [d_model, head × d_head]
  at::Tensor q_norm;  // [d_head]
  at::Tensor k_norm;  // [d_head]; undefined where shared
  Linear gate;        // [d_mlp, d_model]
  Linear up;          // [d_mlp, d_model]
  Linear down;        // [d_model, d_mlp]
  at::Tensor scalar;  // [1]
  PerLayerWeights per_layer;
  MixtureWeights mixture;
};

struct TextWeights {
  at::Tensor embed;                      // [d_vocab, d_model]
  at::Tensor embed_scale;                // 0-d: √d_model
  at::Tensor per_layer_embed;            // [d_vocab_per_layer_input, n_layers × d_per_layer_input]
  at::Tensor per_layer_embed_scale;      // 0-d: √d_per_layer_input
  Linear per_layer_projection;           // [n_layers × d_per_layer_input, d_model]
  at::Tensor per_layer_projection_norm;  // [d_per_layer_input]
  std::vector<LayerWeights> layers;
  at::Tensor final_norm;  // [d_model]
  Linear unembed;         // [d_vocab, d_model]
  int64_t n_params = 0;   // numbers in all weights: tied ones count once, layer scalars do not
  // The checkpoint's tensors above, by name.
  std::vector<Parameter> parameters;
  // Names of the checkpoint's tensors that should be here and are not (UnreadTensors), sorted.
  std::vector<std::string> unread;
  Placement placement;
};

// Weights on the CPU that are in `dtype` already are views of the mapped file. Several devices get
// what PlacePieces gives them; an unembedding that is tied to an embedding on another device is a
// copy. NotFound or InvalidArgument, with the tensor's name.
absl::StatusOr<TextWeights> LoadWeights(const Checkpoint& checkpoint, at::ScalarType dtype,
                                        absl::Span<const DeviceRoom> devices);

// Sets Linear::tiles of all projections that need them, with FindRowTiles(Linear).
absl::Status FindRowTiles(TextWeights& weights);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_WEIGHTS_H_
