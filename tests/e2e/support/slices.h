// Comparing tensors and parts of them.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_SLICES_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_SLICES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hookwire/tensor.h"

namespace hookwire::e2e {

inline std::string BytesOf(const client::Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size()};
}

// The bytes of the elements that `picks` selects: the indices of each axis, outermost first; an
// empty list means the whole axis.
inline std::string PickBytes(const client::Tensor& tensor,
                             const std::vector<std::vector<uint64_t>>& picks) {
  const std::string bytes = BytesOf(tensor);
  std::vector<uint64_t> offsets = {0};
  uint64_t stride = tensor.size();
  for (size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    const uint64_t size = tensor.shape()[axis];
    stride /= size;
    std::vector<uint64_t> indices = axis < picks.size() ? picks[axis] : std::vector<uint64_t>{};
    if (indices.empty()) {
      for (uint64_t i = 0; i < size; ++i) indices.push_back(i);
    }
    std::vector<uint64_t> next;
    for (const uint64_t offset : offsets) {
      for (const uint64_t index : indices) next.push_back(offset + index * stride);
    }
    offsets = std::move(next);
  }
  const size_t element = client::ElementSize(tensor.dtype());
  std::string picked;
  for (const uint64_t offset : offsets) picked += bytes.substr(offset * element, element);
  return picked;
}

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_SLICES_H_
