#include "model/nn/cpu_linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "model/nn/dot_kernel.h"

namespace hookwire::model {
namespace {

// Rows of x in a block are a multiple of this, which is a multiple of every kernel's kRows.
constexpr int64_t kRowStep = 24;
// Several blocks for each thread, so that no thread waits long for the last block of another.
constexpr int64_t kBlocksPerThread = 4;
// Multiplications for each further thread: with fewer, one thread is faster.
constexpr int64_t kGrainProducts = int64_t{1} << 19;

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Null where there is no kernel for this processor.
template <typename T>
DotKernel<T> ChooseKernel() {
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, Bfloat16Bits>) {
    if (__builtin_cpu_supports("avx512bf16")) return DotBlockAvx512Bf16;
  }
  if (__builtin_cpu_supports("avx512f")) return DotBlockAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return DotBlockAvx2;
#endif
  return nullptr;
}

template <typename T>
DotKernel<T> Kernel() {
  static const DotKernel<T> kChosen = ChooseKernel<T>();
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

int64_t ThreadsFor(int64_t products) {
  return std::clamp<int64_t>(products / kGrainProducts, 1, at::get_num_threads());
}

// The whole product y = x Wᵀ as one block: x [rows, in], weight [columns, in], y [rows, columns].
template <typename T>
DotBlock<T> Whole(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) {
  return {.x = static_cast<const T*>(x.const_data_ptr()),
          .x_stride = x.stride(0),
          .rows = x.size(0),
          .w = static_cast<const T*>(weight.const_data_ptr()),
          .w_stride = weight.stride(0),
          .columns = weight.size(0),
          .in = weight.size(1),
          .y = static_cast<T*>(y.mutable_data_ptr()),
          .y_stride = y.stride(0)};
}

// Cuts a product into blocks: by columns, and also by rows where columns alone give too few.
template <typename T>
void AddBlocks(const DotBlock<T>& product, int64_t threads, std::vector<DotBlock<T>>& blocks) {
  const int64_t across = CeilDiv(product.columns, kDotColumns);
  const int64_t down = threads == 1 ? 1 : CeilDiv(kBlocksPerThread * threads, across);
  const int64_t rows_each = CeilDiv(CeilDiv(product.rows, down), kRowStep) * kRowStep;
  for (int64_t column = 0; column < product.columns; column += kDotColumns) {
    for (int64_t row = 0; row < product.rows; row += rows_each) {
      DotBlock<T> block = product;
      block.x += row * product.x_stride;
      block.rows = std::min(rows_each, product.rows - row);
      block.w += column * product.w_stride;
      block.columns = std::min(kDotColumns, product.columns - column);
      block.y += row * product.y_stride + column;
      blocks.push_back(block);
    }
  }
}

template <typename T>
void RunBlocks(const std::vector<DotBlock<T>>& blocks, int64_t threads) {
  const DotKernel<T> kernel = Kernel<T>();
  std::atomic<size_t> next = 0;
  at::parallel_for(0, threads, 1, [&](int64_t /*begin*/, int64_t /*end*/) {
    for (size_t i = next++; i < blocks.size(); i = next++) kernel(blocks[i]);
  });
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

at::Tensor CpuLinear(const at::Tensor& x, const at::Tensor& weight) {
  const int64_t in = weight.size(1);
  const int64_t out = weight.size(0);
  Check(x, weight);
  const at::Tensor rows = WithoutGaps(x.dim() == 2 ? x : x.reshape({-1, in}));
  at::Tensor y = at::empty({rows.size(0), out}, x.options());
  const int64_t threads = ThreadsFor(rows.size(0) * in * out);
  WithElement(weight.scalar_type(), [&]<typename T>(T) {
    std::vector<DotBlock<T>> blocks;
    AddBlocks(Whole<T>(rows, weight, y), threads, blocks);
    RunBlocks(blocks, threads);
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
  const int64_t threads = ThreadsFor(rows.size(0) * in * out);
  const auto* const group_ends = ends.const_data_ptr<int32_t>();
  WithElement(weights.scalar_type(), [&]<typename T>(T) {
    std::vector<DotBlock<T>> blocks;
    int64_t first = 0;
    for (int64_t group = 0; group < weights.size(0); ++group) {
      const int64_t end = group_ends[group];
      TORCH_CHECK(end >= first && end <= rows.size(0), "CpuGroupedLinear: group ", group,
                  " ends at ", end, ", of ", rows.size(0), " rows");
      if (end == first) continue;
      const int64_t count = end - first;
      AddBlocks(Whole<T>(rows.narrow(0, first, count), weights.select(0, group),
                         y.narrow(0, first, count)),
                threads, blocks);
      first = end;
    }
    TORCH_CHECK(first == rows.size(0), "CpuGroupedLinear: no group has the rows from ", first);
    RunBlocks(blocks, threads);
  });
  return y;
}

}  // namespace hookwire::model
