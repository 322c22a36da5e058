#include "server/execute/non_finite.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isinf.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/stack.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hookwire::server {
namespace {

constexpr size_t kVectorBytes = 16;

// `to` is aligned. Other threads may read the stored values only after the fence.
template <typename Vector>
void StorePastCache(void* to, Vector vector) {
#if defined(__SSE2__)
  _mm_stream_si128(static_cast<__m128i*>(to), reinterpret_cast<__m128i>(vector));
#else
  std::memcpy(to, &vector, sizeof(vector));
#endif
}

void FencePastCache() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// IEEE 754: a number whose exponent bits are all ones is infinite if its mantissa is 0, else NaN.
template <typename Bits, Bits kExponent>
struct Format {
  static constexpr Bits kSign = static_cast<Bits>(Bits{1} << (sizeof(Bits) * 8 - 1));
  static constexpr Bits kMantissa = static_cast<Bits>(~(kExponent | kSign));
  // The lowest bit of the exponent. Adding it to an exponent of all ones carries into the sign.
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

  // The same while they are copied to `to`, which is aligned to vectors.
  static bool CopyPastCache(const Bits* bits, size_t count, Bits* to) {
    using Vector [[gnu::vector_size(kVectorBytes)]] = Bits;
    constexpr size_t kLanes = kVectorBytes / sizeof(Bits);
    Vector seen = {};
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      Vector vector;
      std::memcpy(&vector, bits + i, sizeof(vector));
      StorePastCache(to + i, vector);
      seen |= (vector & kExponent) + kCarry;
    }
    std::memcpy(to + i, bits + i, (count - i) * sizeof(Bits));
    Bits any = AnyNonFinite(bits + i, count - i) ? kSign : 0;
    for (size_t lane = 0; lane < kLanes; ++lane) any = static_cast<Bits>(any | seen[lane]);
    return (any & kSign) != 0;
  }

  // How many there are, copied to `to` unless it is null.
  static NonFiniteElements Count(const void* data, size_t count, void* copy) {
    const auto* bits = static_cast<const Bits*>(data);
    auto* const to = static_cast<Bits*>(copy);
    NonFiniteElements found;
    // Elements are counted one by one only in pieces that have non-finite ones.
    constexpr size_t kPiece = 4096;
    for (size_t start = 0; start < count; start += kPiece) {
      const size_t size = std::min(kPiece, count - start);
      const bool any = to == nullptr ? AnyNonFinite(bits + start, size)
                                     : CopyPastCache(bits + start, size, to + start);
      if (!any) continue;
      for (size_t i = start; i < start + size; ++i) {
        if ((bits[i] & kExponent) != kExponent) continue;
        (bits[i] & kMantissa) == 0 ? ++found.inf : ++found.nan;
      }
    }
    return found;
  }
};

// Smaller copies are written to the cache, from which their reader can read them.
constexpr size_t kPastCacheBytes = 1 << 20;

using Float64 = Format<uint64_t, 0x7FF0'0000'0000'0000>;
using Float32 = Format<uint32_t, 0x7F80'0000>;
using BFloat16 = Format<uint16_t, 0x7F80>;
using Float16 = Format<uint16_t, 0x7C00>;

NonFiniteElements Count(const at::Tensor& tensor, void* copy) {
  const void* data = tensor.const_data_ptr();
  const auto count = static_cast<size_t>(tensor.numel());
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return Float64::Count(data, count, copy);
    case at::kFloat:
      return Float32::Count(data, count, copy);
    case at::kBFloat16:
      return BFloat16::Count(data, count, copy);
    case at::kHalf:
      return Float16::Count(data, count, copy);
    default:
      return {};
  }
}

}  // namespace

NonFiniteElements CountNonFinite(const at::Tensor& tensor) { return Count(tensor, nullptr); }

NonFiniteElements CopyAndCountNonFinite(const at::Tensor& tensor, void* to) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(to) % kVectorBytes == 0;
  if (tensor.nbytes() >= kPastCacheBytes && is_aligned && tensor.is_floating_point()) {
    const NonFiniteElements found = Count(tensor, to);
    FencePastCache();
    return found;
  }
  std::memcpy(to, tensor.const_data_ptr(), tensor.nbytes());
  return CountNonFinite(tensor);
}

at::Tensor CountNonFiniteThere(const at::Tensor& tensor, const at::Tensor& n_masked) {
  at::Tensor infinite = at::isinf(tensor).sum();
  if (n_masked.defined()) infinite = (infinite - n_masked).clamp_min(0);
  return at::stack({at::isnan(tensor).sum(), infinite});
}

}  // namespace hookwire::server
