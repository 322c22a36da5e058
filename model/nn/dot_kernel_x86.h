// The kernel, for dot_kernel_avx2.cc and dot_kernel_avx512.cc, each of which is compiled for its
// own instruction set. Every function is a template over a type (`Lanes`) that the source defines
// in an anonymous namespace, and no header with other inline functions is included: the linker
// keeps one copy of an inline function, which could then hold instructions that the processor
// lacks.
#ifndef HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_
#define HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_

#include <immintrin.h>

#include <cstdint>

#include "model/nn/dot_kernel.h"

namespace hookwire::model {

// Lanes is a vector of 16 floats, in one register or two. It has
//   kRows, kColumns      the rows of x, and of W, in a tile, whose sums all stay in registers
//   Zero(), Load(p), LoadSome(p, n) (the rest is 0), MultiplyAdd(a, b, sum),
//   Halves(v) (lane l + lane (l + 8))

// [a0 + a4 … a3 + a7, b0 + b4 … b3 + b7].
template <class Lanes>
__m256 FoldToFour(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

// The sums of a's, b's, c's and d's eight elements.
template <class Lanes>
__m128 FoldToOne(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 ab = FoldToFour<Lanes>(a, b);
  const __m256 cd = FoldToFour<Lanes>(c, d);
  // [a a c c, b b d d], then [a c …, b d …].
  const __m256 pairs = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
                                     _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
  const __m256 sums = _mm256_add_ps(_mm256_shuffle_ps(pairs, pairs, _MM_SHUFFLE(2, 0, 2, 0)),
                                    _mm256_shuffle_ps(pairs, pairs, _MM_SHUFFLE(3, 1, 3, 1)));
  return _mm_unpacklo_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

// One tile: kRows × kColumns dot products over `in` elements, written to y, or, with `add`, added
// to the sums of earlier chunks there. Where W has fewer than kColumns rows left (`columns`), the
// last one is computed again in place of those that are missing, and these are not written. kFetch
// prefetches the next tile's rows of W: the processor's own prefetching ends with a page, which may
// be one row.
template <class Lanes, int kRows, bool kFetch>
void Tile(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int64_t columns,
          int64_t in, bool add, float* y, int64_t y_stride) {
  constexpr int kColumns = Lanes::kColumns;
  typename Lanes::Vector sums[kRows][kColumns];
  for (auto& row : sums) {
    for (auto& sum : row) sum = Lanes::Zero();
  }
  const float* columns_of_w[kColumns];
  for (int n = 0; n < kColumns; ++n) {
    columns_of_w[n] = w + (n < columns ? n : columns - 1) * w_stride;
  }
  const int64_t ahead = kColumns * w_stride;
  const auto step = [&](const auto& load, int64_t i) __attribute__((always_inline)) {
    typename Lanes::Vector of_w[kColumns];
    for (int n = 0; n < kColumns; ++n) of_w[n] = load(columns_of_w[n] + i);
    for (int m = 0; m < kRows; ++m) {
      const typename Lanes::Vector of_x = load(x + m * x_stride + i);
      for (int n = 0; n < kColumns; ++n) {
        sums[m][n] = Lanes::MultiplyAdd(of_x, of_w[n], sums[m][n]);
      }
    }
  };
  int64_t i = 0;
  for (; i + kDotLanes <= in; i += kDotLanes) {
    if constexpr (kFetch) {
      for (int n = 0; n < kColumns; ++n) __builtin_prefetch(columns_of_w[n] + ahead + i);
    }
    step(
        [](const float* p) __attribute__((always_inline)) { return Lanes::Load(p); }, i);
  }
  if (i < in) {
    const int64_t left = in - i;
    step([left](const float* p) { return Lanes::LoadSome(p, left); }, i);
  }
  for (int m = 0; m < kRows; ++m) {
    // FoldToOne takes four vectors; kColumns is 2 or 4, and two are passed twice.
    __m256 halves[4];
    for (int n = 0; n < 4; ++n) halves[n] = Lanes::Halves(sums[m][n % kColumns]);
    float values[4];
    _mm_storeu_ps(values, FoldToOne<Lanes>(halves[0], halves[1], halves[2], halves[3]));
    float* const out = y + m * y_stride;
    for (int n = 0; n < kColumns; ++n) {
      if (n < columns) out[n] = add ? out[n] + values[n] : values[n];
    }
  }
}

// All tiles of kRows rows of x, or of the `rows` that are left where these are fewer.
template <class Lanes, int kRows, bool kFetch>
void Strip(const DotBlock& block, int64_t row, int64_t rows, int64_t first, int64_t in) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return Strip<Lanes, kRows - 1, kFetch>(block, row, rows, first, in);
  }
  for (int64_t n = 0; n < block.columns; n += Lanes::kColumns) {
    Tile<Lanes, kRows, kFetch>(block.x + row * block.x_stride + first, block.x_stride,
                               block.w + n * block.w_stride + first, block.w_stride,
                               block.columns - n, in, first > 0, block.y + row * block.y_stride + n,
                               block.y_stride);
  }
}

template <class Lanes>
void RunDotBlock(const DotBlock& block) {
  int64_t first = 0;
  do {
    const int64_t left = block.in - first;
    const int64_t in = left < kDotChunk ? left : kDotChunk;
    for (int64_t row = 0; row < block.rows; row += Lanes::kRows) {
      const int64_t rows = block.rows - row;
      if (row == 0) {
        Strip<Lanes, Lanes::kRows, true>(block, row, rows, first, in);
      } else {
        Strip<Lanes, Lanes::kRows, false>(block, row, rows, first, in);
      }
    }
    first += in;
  } while (first < block.in);
}

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_
