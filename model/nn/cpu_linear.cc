#include "model/nn/cpu_linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "model/nn/dot_kernel.h"

namespace hookwire::model {
namespace {

// Rows of a block are a multiple of this, which is a multiple of every kernel's strip_rows.
constexpr int64_t kRowStep = 24;
// Several blocks for each thread, so that no thread waits long for the last block of another.
constexpr int64_t kBlocksPerThread = 4;
// Multiplications for each further thread: with fewer, one thread is faster.
constexpr int64_t kGrainProducts = int64_t{1} << 19;
// Elements of x to pack for each further thread.
constexpr int64_t kGrainPacked = int64_t{1} << 16;
// Rows that are packed at a time, which bounds the memory for them.
constexpr int64_t kPackedRows = 8 * kDotRows;

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Null where there is no kernel for this processor.
template <typename T>
const DotKernel<T>* ChooseKernel() {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if constexpr (std::is_same_v<T, Bfloat16Bits>) {
    // Intel's processors multiply as many floats as pairs of bfloat16 at a time, twice as often.
    if (__builtin_cpu_supports("avx512bf16") && !__builtin_cpu_is("intel")) return &kDotAvx512Bf16;
    if (avx512) return &kDotAvx512Bfloat16;
    if (avx2) return &kDotAvx2Bfloat16;
  } else {
    if (avx512) return &kDotAvx512Float;
    if (avx2) return &kDotAvx2Float;
  }
#endif
  return nullptr;
}

template <typename T>
const DotKernel<T>* Kernel() {
  static const DotKernel<T>* const kChosen = ChooseKernel<T>();
  return kChosen;
}

bool HasKernel(at::ScalarType dtype) {
  return (dtype == at::kFloat && Kernel<float>() != nullptr) ||
         (dtype == at::kBFloat16 && Kernel<Bfloat16Bits>() != nullptr);
}

// Calls f with a number of the type that kernels have for a dtype that HasKernel.
template <typename F>
void WithElement(at::ScalarType dtype, F&& f) {
  if (dtype == at::kFloat) return f(float{});
  f(Bfloat16Bits{});
}

int64_t ThreadsFor(int64_t work, int64_t grain) {
  return std::clamp<int64_t>(work / grain, 1, at::get_num_threads());
}

// y = x Wᵀ, of any size.
template <typename T>
struct Product {
  DotRows<T> x;
  const T* w;  // [columns, x.in]
  int64_t w_stride;
  int64_t columns;
  T* y;  // [x.rows, columns]
  int64_t y_stride;
};

// x [rows, in], weight [columns, in], y [rows, columns].
template <typename T>
Product<T> ProductOf(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) {
  return {.x = {.x = static_cast<const T*>(x.const_data_ptr()),
                .x_stride = x.stride(0),
                .rows = x.size(0),
                .in = weight.size(1)},
          .w = static_cast<const T*>(weight.const_data_ptr()),
          .w_stride = weight.stride(0),
          .columns = weight.size(0),
          .y = static_cast<T*>(y.mutable_data_ptr()),
          .y_stride = y.stride(0)};
}

template <typename T>
DotRows<T> Narrow(DotRows<T> x, int64_t first, int64_t rows) {
  x.x += first * x.x_stride;
  x.rows = std::min(rows, x.rows - first);
  return x;
}

template <typename T>
Product<T> Narrow(Product<T> product, int64_t first, int64_t rows) {
  product.x = Narrow(product.x, first, rows);
  product.y += first * product.y_stride;
  return product;
}

// Rows of x to pack, and where to.
template <typename T>
struct Strip {
  DotRows<T> x;
  char* packed;
};

// Multiplies products that have the same `in`: packs the rows of all, then multiplies them.
template <typename T>
class Multiplication {
 public:
  // Of at most this many rows, on this many threads.
  Multiplication(int64_t rows, int64_t in, int64_t threads)
      : threads_(threads),
        packed_in_(CeilDiv(in, kDotStep) * kDotStep),
        memory_(at::empty({rows * packed_in_ * kernel_.packed_size}, at::kByte)),
        next_(static_cast<char*>(memory_.mutable_data_ptr())) {}

  void Add(const Product<T>& product) {
    for (int64_t row = 0; row < product.x.rows; row += kernel_.strip_rows) {
      strips_.push_back({.x = Narrow(product.x, row, kernel_.strip_rows), .packed = Packed(row)});
    }
    AddBlocks(product);
    next_ = Packed(product.x.rows);
  }

  void Run() {
    const int64_t rows = kernel_.strip_rows * static_cast<int64_t>(strips_.size());
    ForEach(strips_, ThreadsFor(rows * packed_in_, kGrainPacked),
            [this](const Strip<T>& strip) { kernel_.pack(strip.x, strip.packed); });
    ForEach(blocks_, threads_, kernel_.run);
  }

 private:
  char* Packed(int64_t row) const { return next_ + row * packed_in_ * kernel_.packed_size; }

  // Cuts a product into blocks: by columns, and also by rows where columns alone give too few.
  void AddBlocks(const Product<T>& product) {
    const int64_t across = CeilDiv(product.columns, kDotColumns);
    const int64_t wanted = threads_ == 1 ? 1 : CeilDiv(kBlocksPerThread * threads_, across);
    const int64_t down = std::max(wanted, CeilDiv(product.x.rows, kDotRows));
    const int64_t rows_each = CeilDiv(CeilDiv(product.x.rows, down), kRowStep) * kRowStep;
    for (int64_t column = 0; column < product.columns; column += kDotColumns) {
      for (int64_t row = 0; row < product.x.rows; row += rows_each) {
        blocks_.push_back({.packed = Packed(row),
                           .packed_in = packed_in_,
                           .rows = std::min(rows_each, product.x.rows - row),
                           .w = product.w + column * product.w_stride,
                           .w_stride = product.w_stride,
                           .columns = std::min(kDotColumns, product.columns - column),
                           .in = product.x.in,
                           .y = product.y + row * product.y_stride + column,
                           .y_stride = product.y_stride});
      }
    }
  }

  template <typename Part, typename F>
  static void ForEach(const std::vector<Part>& parts, int64_t threads, const F& f) {
    std::atomic<size_t> next = 0;
    at::parallel_for(0, threads, 1, [&](int64_t /*begin*/, int64_t /*end*/) {
      for (size_t i = next++; i < parts.size(); i = next++) f(parts[i]);
    });
  }

  const DotKernel<T>& kernel_ = *Kernel<T>();
  const int64_t threads_;
  const int64_t packed_in_;
  const at::Tensor memory_;
  char* next_;  // where the next product's rows go
  std::vector<Strip<T>> strips_;
  std::vector<DotBlock<T>> blocks_;
};

// The products have the same `in`, and `rows` in all.
template <typename T>
void Multiply(const std::vector<Product<T>>& products, int64_t rows, int64_t threads) {
  std::optional<Multiplication<T>> now;
  int64_t left = 0;
  for (const Product<T>& product : products) {
    for (int64_t row = 0; row < product.x.rows;) {
      if (left == 0) {
        if (now) now->Run();
        left = std::min(rows, kPackedRows);
        rows -= left;
        now.emplace(left, product.x.in, threads);
      }
      const Product<T> part = Narrow(product, row, left);
      now->Add(part);
      row += part.x.rows;
      left -= part.x.rows;
    }
  }
  if (now) now->Run();
}

// Throws where libtorch's product would.
void Check(const at::Tensor& x, const at::Tensor& weight) {
  const int64_t in = weight.size(-1);
  TORCH_CHECK(
      x.is_cpu() && x.dim() >= 1 && x.size(-1) == in && x.scalar_type() == weight.scalar_type(),
      "CpuLinear: x ", x.sizes(), " of ", x.scalar_type(), " on ", x.device(), " for a weight of ",
      in, " inputs of ", weight.scalar_type(), " on the CPU");
}

at::Tensor WithoutGaps(const at::Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

}  // namespace

bool HasCpuLinear(const at::Tensor& weight) {
  return weight.is_cpu() && weight.stride(-1) == 1 && HasKernel(weight.scalar_type());
}

bool IsLibtorchFaster(const at::Tensor& weight) {
#if defined(__x86_64__)
  return weight.scalar_type() == at::kBFloat16 && __builtin_cpu_supports("amx-bf16");
#else
  return false;
#endif
}

at::Tensor CpuLinear(const at::Tensor& x, const at::Tensor& weight) {
  const int64_t in = weight.size(1);
  const int64_t out = weight.size(0);
  Check(x, weight);
  const at::Tensor rows = WithoutGaps(x.dim() == 2 ? x : x.reshape({-1, in}));
  at::Tensor y = at::empty({rows.size(0), out}, x.options());
  WithElement(weight.scalar_type(), [&]<typename T>(T) {
    Multiply<T>({ProductOf<T>(rows, weight, y)}, rows.size(0),
                ThreadsFor(rows.size(0) * in * out, kGrainProducts));
  });
  if (x.dim() == 2) return y;
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = out;
  return y.view(sizes);
}

at::Tensor CpuGroupedLinear(const at::Tensor& x, const at::Tensor& weights,
                            const at::Tensor& ends) {
  const int64_t in = weights.size(2);
  const int64_t out = weights.size(1);
  Check(x, weights);
  const at::Tensor rows = WithoutGaps(x);
  at::Tensor y = at::empty({rows.size(0), out}, x.options());
  const auto* const group_ends = ends.const_data_ptr<int32_t>();
  WithElement(weights.scalar_type(), [&]<typename T>(T) {
    std::vector<Product<T>> products;
    int64_t first = 0;
    for (int64_t group = 0; group < weights.size(0); ++group) {
      const int64_t end = group_ends[group];
      TORCH_CHECK(end >= first && end <= rows.size(0), "CpuGroupedLinear: group ", group,
                  " ends at ", end, ", of ", rows.size(0), " rows");
      if (end == first) continue;
      products.push_back(ProductOf<T>(rows.narrow(0, first, end - first), weights.select(0, group),
                                      y.narrow(0, first, end - first)));
      first = end;
    }
    TORCH_CHECK(first == rows.size(0), "CpuGroupedLinear: no group has the rows from ", first);
    Multiply<T>(products, rows.size(0), ThreadsFor(rows.size(0) * in * out, kGrainProducts));
  });
  return y;
}

}  // namespace hookwire::model
