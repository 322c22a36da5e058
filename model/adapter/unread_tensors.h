// Finds tensors of a checkpoint that nothing reads.
#ifndef HOOKWIRE_MODEL_ADAPTER_UNREAD_TENSORS_H_
#define HOOKWIRE_MODEL_ADAPTER_UNREAD_TENSORS_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "model/config/config.h"

namespace hookwire::model {

// Those of `names` (all tensors of the checkpoint) that are not in `read`, in the same order: for
// example an adapter's weights, a bias, the scales of quantised weights, a misspelt name. Without
// them the model computes something other than what was trained.
//
// Tensors of Gemma 4 that the text path does not need are left out:
// - all that is not in the language model: the towers and projections of images, video and sound
//   (`model.vision_tower`, `model.embed_vision`, `model.audio_tower`, `model.embed_audio`, and
//   `model.vision_embedder` of the unified model);
// - weights and biases of `k_proj`, `v_proj`, `k_norm` and `v_norm` in layers that reuse another
//   layer's keys and values, which Transformers drops as well;
// - buffers that are computed from config.json: rotary frequencies and embedding scales.
std::vector<std::string> UnreadTensors(const Config& config, absl::Span<const std::string> names,
                                       const absl::flat_hash_set<std::string>& read);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_UNREAD_TENSORS_H_
