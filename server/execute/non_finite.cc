#include "server/execute/non_finite.h"

#include <algorithm>
#include <cstring>

namespace hookwire::server {
namespace {

// IEEE 754: a number whose exponent bits are all ones is infinite where its mantissa is 0, and NaN
// elsewhere.
template <typename Bits, Bits kExponent>
struct Format {
  static constexpr Bits kSign = static_cast<Bits>(Bits{1} << (sizeof(Bits) * 8 - 1));
  static constexpr Bits kMantissa = static_cast<Bits>(~(kExponent | kSign));
  // The lowest bit of the exponent: added to an exponent of all ones, it carries into the sign.
  static constexpr Bits kCarry = static_cast<Bits>(kMantissa + 1);

  // Whether any of `count` elements is not finite. Neither branches nor calls, so that it is
  // compiled to vector instructions.
  static bool AnyNonFinite(const Bits* bits, size_t count) {
    constexpr size_t kBlock = 64;
    Bits seen = 0;
    size_t i = 0;
    for (; i + kBlock <= count; i += kBlock) {
      for (size_t j = 0; j < kBlock; ++j) {
        seen = static_cast<Bits>(seen | static_cast<Bits>((bits[i + j] & kExponent) + kCarry));
      }
    }
    for (; i < count; ++i) {
      seen = static_cast<Bits>(seen | static_cast<Bits>((bits[i] & kExponent) + kCarry));
    }
    return (seen & kSign) != 0;
  }

  static NonFiniteElements Count(const void* data, size_t count) {
    const auto* bits = static_cast<const Bits*>(data);
    NonFiniteElements found;
    // Only pieces that hold something are counted one by one.
    constexpr size_t kPiece = 4096;
    for (size_t start = 0; start < count; start += kPiece) {
      const size_t size = std::min(kPiece, count - start);
      if (!AnyNonFinite(bits + start, size)) continue;
      for (size_t i = start; i < start + size; ++i) {
        if ((bits[i] & kExponent) != kExponent) continue;
        (bits[i] & kMantissa) == 0 ? ++found.inf : ++found.nan;
      }
    }
    return found;
  }
};

using Float64 = Format<uint64_t, 0x7FF0'0000'0000'0000>;
using Float32 = Format<uint32_t, 0x7F80'0000>;
using BFloat16 = Format<uint16_t, 0x7F80>;
using Float16 = Format<uint16_t, 0x7C00>;

}  // namespace

NonFiniteElements CountNonFinite(const at::Tensor& tensor) {
  const void* data = tensor.const_data_ptr();
  const auto count = static_cast<size_t>(tensor.numel());
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return Float64::Count(data, count);
    case at::kFloat:
      return Float32::Count(data, count);
    case at::kBFloat16:
      return BFloat16::Count(data, count);
    case at::kHalf:
      return Float16::Count(data, count);
    default:
      return {};
  }
}

}  // namespace hookwire::server
