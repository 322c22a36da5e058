// Blocks of y = x Wᵀ in float32, in which each element of y is a dot product of its own.
//
// A dot product is computed in chunks of kDotChunk elements. Within a chunk, the product of element
// i is added to the sum in lane i mod 16 (fused multiply-add, rounded once); then the lanes are
// summed pairwise: lane l + lane (l + 8), then l + 4, l + 2 and l + 1. The sums of the chunks are
// added in order. So the bits of an element depend on one row of x and one row of W alone: not on
// the number of rows, on threads, on alignment or on which kernel computes it. Sixteen short sums
// are also more exact than one running sum.
#ifndef HOOKWIRE_MODEL_NN_DOT_KERNEL_H_
#define HOOKWIRE_MODEL_NN_DOT_KERNEL_H_

#include <cstdint>

namespace hookwire::model {

inline constexpr int64_t kDotLanes = 16;
// So that a tile's rows of x and the next tile's rows of W fit into the first-level cache together.
inline constexpr int64_t kDotChunk = 1024;

// One block. The elements of a row are contiguous; a stride is the elements from one row to the
// next.
struct DotBlock {
  const float* x;  // [rows, in]
  int64_t x_stride;
  int64_t rows;
  const float* w;  // [columns, in]
  int64_t w_stride;
  int64_t columns;
  int64_t in;
  float* y;  // [rows, columns]; written
  int64_t y_stride;
};

using DotKernel = void (*)(const DotBlock& block);

#if defined(__x86_64__)
// For processors that have AVX2 and FMA.
void DotBlockAvx2(const DotBlock& block);
// For processors that have AVX-512F.
void DotBlockAvx512(const DotBlock& block);
#endif

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_H_
