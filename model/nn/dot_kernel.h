// Blocks of y = x Wᵀ in float32 or bfloat16, in which each element of y is a dot product of its
// own.
//
// A dot product is computed in float32, in chunks of kDotChunk elements. Within a chunk, products
// are added to sixteen sums, the lanes, by fused multiply-adds, rounded once: in float32, element i
// to lane i mod 16; in bfloat16, elements i and i + 1 to lane i / 2 mod 16, i + 1 first, as
// vdpbf16ps does. The lanes of the chunks are added in order. Then the lanes are summed pairwise:
// lane l + lane (l + 8), then l + 4, l + 2 and l + 1, and the total is rounded to y's dtype. So the
// bits of an element depend on one row of x and one row of W alone: not on the number of rows, on
// threads, on alignment or on which kernel computes it. Short sums are also more exact than one
// running sum.
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
inline constexpr int64_t kDotChunk = 1024;

// Rows and columns of a block, at most. The sums of a block stay in the second-level cache, with
// the part of x and of W that is multiplied.
inline constexpr int64_t kDotRows = 48;
inline constexpr int64_t kDotColumns = 64;

// A packed row has as many elements as x's, rounded up to a multiple of this.
inline constexpr int64_t kDotStep = 32;

// Rows of x to pack, of T float or Bfloat16Bits. The elements of a row are contiguous; a stride is
// the elements from one row to the next.
template <typename T>
struct DotRows {
  const T* x;  // [rows, in]
  int64_t x_stride;
  int64_t rows;
  int64_t in;
};

// One block.
template <typename T>
struct DotBlock {
  const void* packed;  // x [rows, packed_in], in strips; aligned to 64 bytes
  int64_t packed_in;   // in, rounded up to a multiple of kDotStep
  int64_t rows;        // at most kDotRows
  const T* w;          // [columns, in]
  int64_t w_stride;
  int64_t columns;  // at most kDotColumns
  int64_t in;
  T* y;  // [rows, columns]; written
  int64_t y_stride;
};

template <typename T>
struct DotKernel {
  // Bytes of a packed element: x may be packed in another dtype than its own.
  int64_t packed_size;
  // Rows are packed in strips of this many, the last one maybe of fewer. A block starts with a
  // strip, and kDotRows is a multiple.
  int64_t strip_rows;
  // Packs one strip, into [rows, packed_in] elements that are aligned to 64 bytes.
  void (*pack)(const DotRows<T>& strip, void* packed);
  void (*run)(const DotBlock<T>& block);
};

#if defined(__x86_64__)
// For processors that have AVX2 and FMA.
extern const DotKernel<float> kDotAvx2Float;
extern const DotKernel<Bfloat16Bits> kDotAvx2Bfloat16;
// For processors that have AVX-512F.
extern const DotKernel<float> kDotAvx512Float;
extern const DotKernel<Bfloat16Bits> kDotAvx512Bfloat16;
// For processors that have AVX512_BF16.
extern const DotKernel<Bfloat16Bits> kDotAvx512Bf16;
#endif

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_H_
