// Blocks of y = x Wᵀ in float32 or bfloat16, in which each element of y is a dot product of its
// own.
//
// A dot product is computed in float32, in chunks of kDotChunk elements. Within a chunk, products
// are added to sixteen sums, the lanes, by fused multiply-adds, rounded once: in float32, element i
// to lane i mod 16; in bfloat16, elements i and i + 1 to lane i / 2 mod 16, i + 1 first, as
// vdpbf16ps does. Then the lanes are summed pairwise: lane l + lane (l + 8), then l + 4, l + 2 and
// l + 1. The sums of the chunks are added in order, and the total is rounded to y's dtype. So the
// bits of an element depend on one row of x and one row of W alone: not on the number of rows, on
// threads, on alignment or on which kernel computes it. Sixteen short sums are also more exact than
// one running sum.
//
// One exception: vdpbf16ps takes numbers below 2⁻¹²⁶ (1.2e-38), and products and sums below it, as
// 0, and the other kernels do not. That is at most 2⁻¹²⁶ for each addition.
#ifndef HOOKWIRE_MODEL_NN_DOT_KERNEL_H_
#define HOOKWIRE_MODEL_NN_DOT_KERNEL_H_

#include <cstdint>

namespace hookwire::model {

inline constexpr int64_t kDotLanes = 16;

// The bits of a bfloat16 number, without libtorch's type: see dot_kernel_x86.h.
using Bfloat16Bits = uint16_t;

// So that a tile's rows of x stay in the first-level cache while the rows of W pass through it.
template <typename T>
inline constexpr int64_t kDotChunk = 4096 / static_cast<int64_t>(sizeof(T));

// Columns of a block, at most: that many rows of W, a chunk of each, stay in the second-level cache
// while the block's rows of x are read.
inline constexpr int64_t kDotColumns = 64;

// One block, of T float or Bfloat16Bits. The elements of a row are contiguous; a stride is the
// elements from one row to the next.
template <typename T>
struct DotBlock {
  const T* x;  // [rows, in]
  int64_t x_stride;
  int64_t rows;
  const T* w;  // [columns, in]
  int64_t w_stride;
  int64_t columns;
  int64_t in;
  T* y;  // [rows, columns]; written
  int64_t y_stride;
};

template <typename T>
using DotKernel = void (*)(const DotBlock<T>& block);

#if defined(__x86_64__)
// For processors that have AVX2 and FMA.
void DotBlockAvx2(const DotBlock<float>& block);
void DotBlockAvx2(const DotBlock<Bfloat16Bits>& block);
// For processors that have AVX-512F.
void DotBlockAvx512(const DotBlock<float>& block);
void DotBlockAvx512(const DotBlock<Bfloat16Bits>& block);
// For processors that have AVX512_BF16.
void DotBlockAvx512Bf16(const DotBlock<Bfloat16Bits>& block);
#endif

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_H_
