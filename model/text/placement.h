// Which device holds which weights, where a model is spread over several.
#ifndef HOOKWIRE_MODEL_TEXT_PLACEMENT_H_
#define HOOKWIRE_MODEL_TEXT_PLACEMENT_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace hookwire::model {

// A device, and the memory that sets its share of the weights: free bytes, for example.
struct DeviceRoom {
  at::Device device = at::kCPU;
  uint64_t bytes = 0;
};

struct Placement {
  // For the embeddings, and whatever else comes before the layers.
  at::Device before = at::kCPU;
  // By layer.
  std::vector<at::Device> layers;
  // For the final norm and the unembedding.
  at::Device after = at::kCPU;
};

// Puts the pieces on the devices in order, none divided, so that a pass visits each device once and
// each device's share of the weights is about its share of the memory (equal shares where no device
// has any). `bytes` are the sizes of what comes before the layers, of each layer, and of what comes
// after. REQUIRES: at least one device.
Placement PlacePieces(absl::Span<const uint64_t> bytes, absl::Span<const DeviceRoom> devices);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PLACEMENT_H_
