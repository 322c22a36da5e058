#include "model/nn/cpu_kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace hookwire::model {
namespace {

// Each inner loop is compiled once for each vector width, and the dynamic loader picks one.
// Sanitizers do not support that.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HOOKWIRE_VECTOR_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define HOOKWIRE_VECTOR_CLONES
#endif

// A thread gets at least this many elements: with fewer, one thread is faster.
constexpr int64_t kGrainElements = 16'384;

// Sums run in this many lanes on every processor, so that their bits are the same everywhere.
constexpr int64_t kLanes = 16;

HOOKWIRE_VECTOR_CLONES float SumOfSquares(const float* x, int64_t n) {
  std::array<float, kLanes> lanes{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lanes[static_cast<size_t>(lane)] += x[i + lane] * x[i + lane];
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) lanes[static_cast<size_t>(lane)] += x[i] * x[i];
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

HOOKWIRE_VECTOR_CLONES void ScaleRow(const float* x, const float* weight, float factor, float* y,
                                     int64_t n) {
  if (weight == nullptr) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor;
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor * weight[i];
  }
}

// y = x rotated by the angles of cos and sin; features i and i + half form a pair.
HOOKWIRE_VECTOR_CLONES void RotateRow(const float* x, const float* cos, const float* sin, float* y,
                                      int64_t half) {
  for (int64_t i = 0; i < half; ++i) y[i] = x[i] * cos[i] - x[i + half] * sin[i];
  for (int64_t i = half; i < 2 * half; ++i) y[i] = x[i] * cos[i] + x[i - half] * sin[i];
}

// eˣ within 3 · 10⁻⁸, without a branch: 2ⁿ · eʳ with r in ±ln 2 / 2, eʳ by the polynomial of
// Cephes' expf (Moshier 1992). Infinity above 89; below −104, where float32 has no numbers, e⁻¹⁰⁴.
inline double Exp(double x) {
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2 = 0.6931471805599453;
  // 1.5 · 2⁵²: adding it rounds to an integer, which is then in the lowest bits of the sum.
  constexpr double kRound = 6'755'399'441'055'744.0;
  const double clamped = x < -104.0 ? -104.0 : (x > 89.0 ? 89.0 : x);
  const double shifted = clamped * kLog2E + kRound;
  const double r = clamped - (shifted - kRound) * kLn2;
  double p = 1.9875691500e-4;
  p = p * r + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  p = p * r + 5.0000001201e-1;
  p = p * r * r + r + 1.0;
  const auto n = std::bit_cast<uint64_t>(shifted) - std::bit_cast<uint64_t>(kRound);
  const double scale = std::bit_cast<double>((n + 1023U) << 52U);
  return x > 89.0 ? std::numeric_limits<double>::infinity() : p * scale;
}

// y = gelu(gate) · up, rounded once. As tanh(u) = 2σ(2u) − 1, the tanh form of gelu is gate ·
// σ(2u), in which no digits cancel.
HOOKWIRE_VECTOR_CLONES void GatedGeluRow(const float* gate, const float* up, float* y, int64_t n) {
  // 2 √(2/π), and 0.044715 times that.
  constexpr double kLinear = 1.5957691216057308;
  constexpr double kCubic = 0.07135481627260025;
  for (int64_t i = 0; i < n; ++i) {
    const double x = gate[i];
    y[i] = static_cast<float>(x / (1.0 + Exp(-x * (kLinear + kCubic * x * x))) * up[i]);
  }
}

HOOKWIRE_VECTOR_CLONES void Widen(const c10::BFloat16* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]);
}

HOOKWIRE_VECTOR_CLONES void Narrow(const float* x, c10::BFloat16* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = c10::BFloat16(x[i]);
}

// Reads rows of float32 or bfloat16 as float32.
class Rows {
 public:
  // `stride`: elements from one row to the next.
  Rows(const at::Tensor& x, int64_t width, int64_t stride)
      : base_(x.const_data_ptr()),
        bf16_(x.scalar_type() == at::kBFloat16),
        width_(width),
        stride_(stride) {
    if (bf16_) buffer_.resize(static_cast<size_t>(width));
  }

  Rows(const at::Tensor& x, int64_t width) : Rows(x, width, width) {}

  const float* Read(int64_t row) {
    if (!bf16_) return static_cast<const float*>(base_) + row * stride_;
    Widen(static_cast<const c10::BFloat16*>(base_) + row * stride_, buffer_.data(), width_);
    return buffer_.data();
  }

 private:
  const void* base_;
  const bool bf16_;
  const int64_t width_;
  const int64_t stride_;
  std::vector<float> buffer_;
};

// Writes rows of float32 or bfloat16 from float32.
class OutRows {
 public:
  OutRows(const at::Tensor& y, int64_t width)
      : base_(y.mutable_data_ptr()), bf16_(y.scalar_type() == at::kBFloat16), width_(width) {
    if (bf16_) buffer_.resize(static_cast<size_t>(width));
  }

  // Memory for row `row` in float32; Finish(row) converts it where the tensor is bfloat16.
  float* Row(int64_t row) {
    return bf16_ ? buffer_.data() : static_cast<float*>(base_) + row * width_;
  }
  void Finish(int64_t row) {
    if (bf16_) Narrow(buffer_.data(), static_cast<c10::BFloat16*>(base_) + row * width_, width_);
  }

 private:
  void* base_;
  const bool bf16_;
  const int64_t width_;
  std::vector<float> buffer_;
};

}  // namespace

bool HasCpuKernels(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         !at::GradMode::is_enabled();
}

at::Tensor CpuRmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  const int64_t width = in.size(-1);
  const int64_t n_rows = width == 0 ? 0 : in.numel() / width;
  const at::Tensor w = weight.defined() ? weight.to(at::kFloat).contiguous() : at::Tensor();
  const float* weights = w.defined() ? w.const_data_ptr<float>() : nullptr;
  at::parallel_for(
      0, n_rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, width)),
      [&](int64_t begin, int64_t end) {
        Rows rows(in, width);
        OutRows out_rows(out, width);
        for (int64_t row = begin; row < end; ++row) {
          const float* values = rows.Read(row);
          const float mean_square = SumOfSquares(values, width) / static_cast<float>(width);
          ScaleRow(values, weights, 1.0F / std::sqrt(mean_square + static_cast<float>(eps)),
                   out_rows.Row(row), width);
          out_rows.Finish(row);
        }
      });
  return out;
}

at::Tensor CpuApplyRotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor in = x.contiguous();
  const at::Tensor cosines = cos.contiguous();
  const at::Tensor sines = sin.contiguous();
  at::Tensor out = at::empty_like(in);
  const int64_t n_heads = in.size(1);
  const int64_t width = in.size(2);
  const int64_t grain = std::max<int64_t>(1, kGrainElements / (n_heads * width));
  at::parallel_for(0, in.size(0), grain, [&](int64_t begin, int64_t end) {
    Rows rows(in, width);
    Rows cos_rows(cosines, width);
    Rows sin_rows(sines, width);
    OutRows out_rows(out, width);
    for (int64_t position = begin; position < end; ++position) {
      const float* c = cos_rows.Read(position);
      const float* s = sin_rows.Read(position);
      for (int64_t row = position * n_heads; row < (position + 1) * n_heads; ++row) {
        RotateRow(rows.Read(row), c, s, out_rows.Row(row), width / 2);
        out_rows.Finish(row);
      }
    }
  });
  return out;
}

at::Tensor CpuScaledEmbedding(const at::Tensor& weight, const at::Tensor& ids,
                              const at::Tensor& scale) {
  const int64_t width = weight.size(1);
  at::Tensor out = at::empty({ids.size(0), width}, weight.options());
  const at::Tensor words = ids.contiguous();
  const auto* const word = words.const_data_ptr<int64_t>();
  const auto factor = static_cast<float>(scale.item<double>());
  const int64_t grain = std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, width));
  at::parallel_for(0, ids.size(0), grain, [&](int64_t begin, int64_t end) {
    Rows rows(weight, width);
    OutRows out_rows(out, width);
    for (int64_t row = begin; row < end; ++row) {
      ScaleRow(rows.Read(word[row]), nullptr, factor, out_rows.Row(row), width);
      out_rows.Finish(row);
    }
  });
  return out;
}

at::Tensor CpuGatedGelu(const at::Tensor& gate, const at::Tensor& up) {
  const auto rows_of = [](const at::Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); };
  const at::Tensor gates = rows_of(gate);
  const at::Tensor ups = rows_of(up);
  at::Tensor out = at::empty(gate.sizes(), gate.options());
  const int64_t width = gate.size(1);
  const int64_t grain = std::max<int64_t>(1, kGrainElements / 4 / std::max<int64_t>(1, width));
  at::parallel_for(0, gate.size(0), grain, [&](int64_t begin, int64_t end) {
    Rows gate_rows(gates, width, gates.stride(0));
    Rows up_rows(ups, width, ups.stride(0));
    OutRows out_rows(out, width);
    for (int64_t row = begin; row < end; ++row) {
      GatedGeluRow(gate_rows.Read(row), up_rows.Read(row), out_rows.Row(row), width);
      out_rows.Finish(row);
    }
  });
  return out;
}

}  // namespace hookwire::model
