// Blocks of y = x Wᵀ in float32, each element a dot product of its own.
//
// A dot product runs in chunks of kDotChunk elements. In a chunk, element i is multiplied and added
// (fused, rounded once) in lane i mod 16; then lane l takes up lane l + 8, then l + 4, l + 2 and
// l + 1. The chunks' sums are added in order. So an element's bits depend on one row of x and one
// of W, and on nothing else: not on how many rows there are, nor on threads, alignment, or on which
// of the kernels below computes it. Short chains also make it more exact than a running sum.
#ifndef HOOKWIRE_MODEL_NN_DOT_KERNEL_H_
#define HOOKWIRE_MODEL_NN_DOT_KERNEL_H_

#include <cstdint>

namespace hookwire::model {

inline constexpr int64_t kDotLanes = 16;
// x's rows of a tile and W's of the next lie in the first-level cache together.
inline constexpr int64_t kDotChunk = 1024;

// Rows may be apart (strides in elements); the elements of a row lie together.
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
