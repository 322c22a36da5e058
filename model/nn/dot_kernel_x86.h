// The kernel, for dot_kernel_avx2.cc, dot_kernel_avx512.cc and dot_kernel_avx512_bf16.cc, each of
// which is compiled for its own instruction set. Every function is a template over a type (`Lanes`)
// that the source defines in an anonymous namespace, and no header with other inline functions is
// included: the linker keeps one copy of an inline function, which could then hold instructions
// that the processor lacks.
#ifndef HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_
#define HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "model/nn/dot_kernel.h"

namespace hookwire::model {

// Lanes has
//   kRows, kColumns      the rows of x, and of W, in a tile, whose sums all stay in registers
//   Element              float or Bfloat16Bits: x, W and y
//   Packed               float or Bfloat16Bits: x as it is packed
//   kParts               operands that kStepBytes of a row of W make: 2 where bfloat16 becomes
//   float Operand              what is multiplied at a time: kDotLanes floats, or as many pairs Sum
//   kDotLanes float sums, in one register or two Load(p, part), LoadPacked(p), StorePacked(p,
//   operand), LoadSum(p), StoreSum(p, sum), Zero(), Add(a, b), MultiplyAdd(a, b, sum), Halves(sum)
//   (lane l + lane (l + 8))
inline constexpr int64_t kStepBytes = 64;
template <class Lanes>
inline constexpr int64_t kStep = kStepBytes / static_cast<int64_t>(sizeof(typename Lanes::Element));
// Elements of one operand.
template <class Lanes>
inline constexpr int64_t kOperand = kStep<Lanes> / Lanes::kParts;

// Tiles side by side that take the same rows of x, one after another.
inline constexpr int64_t kBandTiles = 8;

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

// Copies rows of x into the order in which a tile reads them, [step, part, rows, kOperand], with
// zeros at the end of the last step. Rows that are a multiple of 4096 bytes apart would otherwise
// push each other out of the first-level cache.
template <class Lanes>
void Pack(const DotRows<typename Lanes::Element>& strip, void* to) {
  using Element = typename Lanes::Element;
  auto* packed = static_cast<typename Lanes::Packed*>(to);
  for (int64_t i = 0; i < strip.in; i += kStep<Lanes>) {
    const int64_t left = strip.in - i;
    for (int64_t m = 0; m < strip.rows; ++m, packed += kOperand<Lanes>) {
      const Element* p = strip.x + m * strip.x_stride + i;
      Element padded[kStep<Lanes>];
      if (left < kStep<Lanes>) {
        for (int64_t e = 0; e < kStep<Lanes>; ++e) padded[e] = e < left ? p[e] : 0;
        p = padded;
      }
      for (int part = 0; part < Lanes::kParts; ++part) {
        Lanes::StorePacked(packed + part * strip.rows * kOperand<Lanes>, Lanes::Load(p, part));
      }
    }
    packed += (Lanes::kParts - 1) * strip.rows * kOperand<Lanes>;
  }
}

// Rounds to the nearest number, and to the even one of two.
template <class Lanes>
void Store(__m128 values, int64_t n, Bfloat16Bits* y) {
  const __m128i bits = _mm_castps_si128(values);
  const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
  const __m128i rounded =
      _mm_srli_epi32(_mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7FFF))), 16);
  const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(values, values));
  const __m128i chosen = _mm_blendv_epi8(rounded, _mm_set1_epi32(0x7FC0), nan);
  const __m128i four = _mm_packus_epi32(chosen, chosen);
  __builtin_memcpy(y, &four, static_cast<size_t>(n) * sizeof(*y));
}

template <class Lanes>
void Store(__m128 values, int64_t n, float* y) {
  __builtin_memcpy(y, &values, static_cast<size_t>(n) * sizeof(*y));
}

template <class Lanes>
struct TileInput {
  const typename Lanes::Packed* packed;  // rows of x from this chunk on, as Pack writes them
  const typename Lanes::Element* w;      // [columns, in], with w_stride
  int64_t w_stride;
  int64_t columns;  // of W from here on; may be more or fewer than kColumns
  int64_t in;
  const typename Lanes::Element* fetch;  // rows of W to prefetch, with w_stride
  float* sums;  // [kRows, kColumns, kDotLanes], aligned; of the chunks before, and after, this one
  bool is_first;
  bool is_last;
  typename Lanes::Element* y;  // written after the last chunk
  int64_t y_stride;
};

// One tile: kRows × kColumns dot products over `in` elements. Where W has fewer than kColumns rows
// left, the last one is computed again in place of those that are missing. Meanwhile the kFetch
// rows of W at `fetch` are prefetched, since the processor's own prefetching ends with a page,
// which may be one row. To the second-level cache: the first one has no room for them. Not inlined,
// so that all registers are free for the sums. Every loop over sums is unrolled by order, as the
// compiler keeps them in memory where it unrolls later.
template <class Lanes, int kRows, int kFetch>
[[gnu::noinline]] void Tile(const TileInput<Lanes>& tile) {
  using Element = typename Lanes::Element;
  using Operand = typename Lanes::Operand;
  constexpr int kColumns = Lanes::kColumns;
  constexpr int kReadToSecondLevel = 2;
  typename Lanes::Sum lanes[kRows][kColumns];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < kColumns; ++n) lanes[m][n] = Lanes::Zero();
  }
  const Element* rows_of_w[kColumns];
#pragma GCC unroll 16
  for (int n = 0; n < kColumns; ++n) {
    rows_of_w[n] = tile.w + (n < tile.columns ? n : tile.columns - 1) * tile.w_stride;
  }
  const typename Lanes::Packed* packed = tile.packed;
  const Element* fetch = tile.fetch;
  const int64_t w_stride = tile.w_stride;
  const int64_t in = tile.in;
  const auto step = [&](const Element* const* w, int64_t i) __attribute__((always_inline)) {
#pragma GCC unroll 2
    for (int part = 0; part < Lanes::kParts; ++part) {
      Operand of_w[kColumns];
#pragma GCC unroll 16
      for (int n = 0; n < kColumns; ++n) of_w[n] = Lanes::Load(w[n] + i, part);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m, packed += kOperand<Lanes>) {
        const Operand of_x = Lanes::LoadPacked(packed);
#pragma GCC unroll 16
        for (int n = 0; n < kColumns; ++n) {
          lanes[m][n] = Lanes::MultiplyAdd(of_x, of_w[n], lanes[m][n]);
        }
      }
    }
  };
  int64_t i = 0;
  for (; i + kStep<Lanes> <= in; i += kStep<Lanes>, fetch += kStep<Lanes>) {
#pragma GCC unroll 16
    for (int n = 0; n < kFetch; ++n) {
      __builtin_prefetch(fetch + n * w_stride, 0, kReadToSecondLevel);
    }
    step(rows_of_w, i);
  }
  if (i < in) {
    Element padded[kColumns][kStep<Lanes>] = {};
    const Element* ends[kColumns];
#pragma GCC unroll 16
    for (int n = 0; n < kColumns; ++n) {
      __builtin_memcpy(padded[n], rows_of_w[n] + i, static_cast<size_t>(in - i) * sizeof(Element));
      ends[n] = padded[n];
    }
    step(ends, 0);
  }
  float* const sums = tile.sums;
  if (!tile.is_first) {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kColumns; ++n) {
        const auto before = Lanes::LoadSum(sums + (m * kColumns + n) * kDotLanes);
        lanes[m][n] = Lanes::Add(before, lanes[m][n]);
      }
    }
  }
  if (!tile.is_last) {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kColumns; ++n) {
        Lanes::StoreSum(sums + (m * kColumns + n) * kDotLanes, lanes[m][n]);
      }
    }
    return;
  }
  const int64_t columns = tile.columns < kColumns ? tile.columns : kColumns;
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
    // FoldToOne takes four vectors; kColumns is 2 or 4, and two are passed twice.
    __m256 halves[4];
#pragma GCC unroll 16
    for (int n = 0; n < 4; ++n) halves[n] = Lanes::Halves(lanes[m][n % kColumns]);
    Store<Lanes>(FoldToOne<Lanes>(halves[0], halves[1], halves[2], halves[3]), columns,
                 tile.y + m * tile.y_stride);
  }
}

// Tile for kRows rows of x, or for the `rows` that are left where these are fewer. fetch_rows is 0,
// 1, kColumns / 2 or kColumns.
template <class Lanes, int kRows = Lanes::kRows>
void RunTile(int64_t rows, int64_t fetch_rows, const TileInput<Lanes>& tile) {
  constexpr int kColumns = Lanes::kColumns;
  if constexpr (kRows > 1) {
    if (rows < kRows) return RunTile<Lanes, kRows - 1>(rows, fetch_rows, tile);
  }
  if (fetch_rows == 0) return Tile<Lanes, kRows, 0>(tile);
  if (fetch_rows == 1) return Tile<Lanes, kRows, 1>(tile);
  if (fetch_rows == kColumns / 2) return Tile<Lanes, kRows, kColumns / 2>(tile);
  Tile<Lanes, kRows, kColumns>(tile);
}

// A chunk of a band's rows of W stays in the caches while all rows of x pass, and the next one is
// prefetched during the first tiles of these: spread over as many as there are, so that reading
// memory and computing overlap.
template <class Lanes>
void Run(const DotBlock<typename Lanes::Element>& block) {
  using Element = typename Lanes::Element;
  constexpr int64_t kRows = Lanes::kRows;
  constexpr int64_t kColumns = Lanes::kColumns;
  constexpr int64_t kBand = kBandTiles * kColumns;
  constexpr int64_t kTileSums = kRows * kColumns * kDotLanes;
  static_assert(kDotRows % kRows == 0);
  static_assert(kDotChunk % kDotStep == 0);
  alignas(64) float sums[kDotRows / kRows][kBandTiles][kTileSums];
  const auto* const packed = static_cast<const typename Lanes::Packed*>(block.packed);
  const int64_t strips = (block.rows + kRows - 1) / kRows;
  const int64_t fetch_rows = strips >= kColumns ? 1 : strips > 1 ? kColumns / 2 : kColumns;
  for (int64_t band = 0; band < block.columns; band += kBand) {
    const int64_t band_end = band + kBand < block.columns ? band + kBand : block.columns;
    int64_t first = 0;
    do {
      const int64_t end = first + kDotChunk < block.in ? first + kDotChunk : block.in;
      const bool is_last = end == block.in;
      // Of this band, or of the next one. The last band of W has none, and prefetching does no
      // harm.
      const Element* const next =
          block.w + (is_last ? band_end * block.w_stride : band * block.w_stride + end);
      int64_t fetched = 0;
      for (int64_t strip = 0; strip < strips; ++strip) {
        const int64_t row = strip * kRows;
        const int64_t rows = block.rows - row < kRows ? block.rows - row : kRows;
        for (int64_t n = band; n < band_end; n += kColumns) {
          const int64_t fetch_now = fetched < kBand ? fetch_rows : 0;
          RunTile<Lanes>(rows, fetch_now,
                         {.packed = packed + row * block.packed_in + first * rows,
                          .w = block.w + n * block.w_stride + first,
                          .w_stride = block.w_stride,
                          .columns = block.columns - n,
                          .in = end - first,
                          .fetch = next + fetched * block.w_stride,
                          .sums = sums[strip][(n - band) / kColumns],
                          .is_first = first == 0,
                          .is_last = is_last,
                          .y = block.y + row * block.y_stride + n,
                          .y_stride = block.y_stride});
          fetched += fetch_now;
        }
      }
      first = end;
    } while (first < block.in);
  }
}

template <class Lanes>
constexpr DotKernel<typename Lanes::Element> KernelOf() {
  return {.packed_size = sizeof(typename Lanes::Packed),
          .strip_rows = Lanes::kRows,
          .pack = Pack<Lanes>,
          .run = Run<Lanes>};
}

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_
