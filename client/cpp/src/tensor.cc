#include "hookwire/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace hookwire::client {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian on the wire");

double FromBfloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16U); }

// IEEE 754 binary16.
double FromFloat16(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  double magnitude;
  if (exponent == 0x1F) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, -24);
  } else {
    magnitude = std::ldexp(fraction + 1024, exponent - 25);
  }
  return std::copysign(magnitude, (bits & 0x8000) != 0 ? -1.0 : 1.0);
}

template <typename Element, typename F>
std::vector<double> Convert(absl::Span<const std::byte> bytes, F&& convert) {
  std::vector<double> out(bytes.size() / sizeof(Element));
  for (size_t i = 0; i < out.size(); ++i) {
    Element element;
    std::memcpy(&element, bytes.data() + i * sizeof(Element), sizeof(Element));
    out[i] = convert(element);
  }
  return out;
}

template <typename Element>
std::vector<double> Widen(absl::Span<const std::byte> bytes) {
  return Convert<Element>(bytes, [](Element element) { return static_cast<double>(element); });
}

}  // namespace

size_t ElementSize(v1::Dtype dtype) {
  switch (dtype) {
    case v1::DTYPE_BFLOAT16:
    case v1::DTYPE_FLOAT16:
      return 2;
    case v1::DTYPE_FLOAT32:
      return 4;
    case v1::DTYPE_FLOAT64:
    case v1::DTYPE_INT64:
      return 8;
    default:
      return 0;
  }
}

Tensor::Tensor(std::shared_ptr<const v1::Plan> plan, uint32_t index, int group, int entry,
               std::unique_ptr<std::byte[]> data, size_t bytes)
    : plan_(std::move(plan)),
      index_(index),
      group_(group),
      entry_(entry),
      data_(std::move(data)),
      bytes_(bytes) {}

std::string_view Tensor::name() const {
  switch (group().source()) {
    case v1::TensorGroup::SOURCE_LOGITS:
      return "logits";
    case v1::TensorGroup::SOURCE_LOG_PROBS:
      return "log_probs";
    case v1::TensorGroup::SOURCE_RESIDUAL:
      return "residual";
    default:
      return group().hook();
  }
}

bool Tensor::HasName(std::string_view name) const {
  const auto& names = group().names();
  return name == this->name() || std::find(names.begin(), names.end(), name) != names.end();
}

absl::Span<const uint64_t> Tensor::shape() const {
  return absl::MakeConstSpan(planned().shape().data(), static_cast<size_t>(planned().shape_size()));
}

std::vector<double> Tensor::ToDoubles() const {
  switch (dtype()) {
    case v1::DTYPE_BFLOAT16:
      return Convert<uint16_t>(bytes(), FromBfloat16);
    case v1::DTYPE_FLOAT16:
      return Convert<uint16_t>(bytes(), FromFloat16);
    case v1::DTYPE_FLOAT32:
      return Widen<float>(bytes());
    case v1::DTYPE_FLOAT64:
      return Widen<double>(bytes());
    case v1::DTYPE_INT64:
      return Widen<int64_t>(bytes());
    default:
      return {};
  }
}

}  // namespace hookwire::client
