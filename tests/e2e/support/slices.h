// Comparing tensors and parts of them.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_SLICES_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_SLICES_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "hookwire/client.h"

namespace hookwire::e2e {

// Bytes that are compared and, where they differ, not printed.
struct Bits {
  std::string bytes;

  Bits& operator+=(const Bits& other) {
    bytes += other.bytes;
    return *this;
  }
  friend bool operator==(const Bits&, const Bits&) = default;
  friend void PrintTo(const Bits& bits, std::ostream* os) {
    *os << bits.bytes.size() << " bytes with hash " << std::hash<std::string>()(bits.bytes);
  }
};

inline Bits BytesOf(const client::Tensor& tensor) {
  return {{reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size()}};
}
inline Bits BytesOf(const client::RunResult& result) {
  Bits bits;
  for (const client::Tensor& tensor : result.tensors) bits += BytesOf(tensor);
  return bits;
}

// The bytes of the elements that `picks` selects: the indices of each axis, outermost first; an
// empty list means the whole axis.
inline Bits PickBytes(const client::Tensor& tensor,
                      const std::vector<std::vector<uint64_t>>& picks) {
  const std::string bytes = BytesOf(tensor).bytes;
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
  Bits picked;
  for (const uint64_t offset : offsets) picked.bytes += bytes.substr(offset * element, element);
  return picked;
}

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_SLICES_H_
