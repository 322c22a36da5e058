// Which device holds what, where a model is spread over several.
#ifndef HOOKWIRE_MODEL_TEXT_PLACEMENT_H_
#define HOOKWIRE_MODEL_TEXT_PLACEMENT_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace hookwire::model {

// A device, and how large it is beside the others: bytes of free memory, say.
struct DeviceRoom {
  at::Device device = at::kCPU;
  uint64_t bytes = 0;
};

struct Placement {
  // Of the embeddings, and of whatever else comes before the layers.
  at::Device before = at::kCPU;
  // By layer.
  std::vector<at::Device> layers;
  // Of the final norm and the unembedding.
  at::Device after = at::kCPU;
};

// Whole pieces in their order, so that a pass goes through each device once, and each device's
// share of the weights is about its share of the room (equal shares where no device has any).
// `bytes`: of what comes before the layers, of each layer, of what comes after. At least one
// device.
Placement PlacePieces(absl::Span<const uint64_t> bytes, absl::Span<const DeviceRoom> devices);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PLACEMENT_H_
