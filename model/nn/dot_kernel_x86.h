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
//   Element              float or Bfloat16Bits
//   Operand              what one step of a dot product takes of a row: kStepBytes
//   Sum                  sixteen float sums, in one register or two
//   Load(p), Zero(), MultiplyAdd(a, b, sum), Halves(sum) (lane l + lane (l + 8))
inline constexpr int64_t kStepBytes = 64;
template <class Lanes>
inline constexpr int64_t kStep = kStepBytes / static_cast<int64_t>(sizeof(typename Lanes::Element));

// Rows of x that are packed and whose sums are kept at a time. A multiple of every kRows.
inline constexpr int64_t kGroupRows = 48;

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

// One step's operand of a row that ends after `left` elements; the rest is 0.
template <class Lanes>
typename Lanes::Operand LoadLast(const typename Lanes::Element* p, int64_t left) {
  typename Lanes::Element padded[kStep<Lanes>] = {};
  __builtin_memcpy(padded, p, static_cast<size_t>(left) * sizeof(padded[0]));
  return Lanes::Load(padded);
}

// Copies `rows` rows of x into the order in which a tile reads them: [step, rows, kStep], with
// zeros at the end of the last step. Rows that are a multiple of 4096 bytes apart would otherwise
// push each other out of the first-level cache.
template <class Lanes>
void Pack(const typename Lanes::Element* x, int64_t x_stride, int64_t rows, int64_t in,
          typename Lanes::Element* packed) {
  for (int64_t i = 0; i < in; i += kStep<Lanes>) {
    const int64_t left = in - i;
    for (int64_t m = 0; m < rows; ++m, packed += kStep<Lanes>) {
      const typename Lanes::Element* const p = x + m * x_stride + i;
      if (left >= kStep<Lanes>) {
        __builtin_memcpy(packed, p, kStepBytes);
      } else {
        for (int64_t e = 0; e < kStep<Lanes>; ++e) packed[e] = e < left ? p[e] : 0;
      }
    }
  }
}

template <class Lanes>
struct TileInput {
  const typename Lanes::Element* packed;  // rows of x, as Pack writes them
  const typename Lanes::Element* w;       // [columns, in], with w_stride
  int64_t w_stride;
  int64_t columns;  // of W from here on; may be more or fewer than kColumns
  int64_t in;
  const typename Lanes::Element* fetch;  // rows of W to prefetch
  float* sums;                           // [kRows, kDotColumns]; added to
};

// One tile: kRows × kColumns dot products over `in` elements. Where W has fewer than kColumns rows
// left, the last one is computed again in place of those that are missing. Meanwhile the kFetch
// rows of W at `fetch` are prefetched, since the processor's own prefetching ends with a page,
// which may be one row. To the second-level cache: the first one has no room for them. Not inlined,
// so that all registers are free for the sums.
template <class Lanes, int kRows, int kFetch>
[[gnu::noinline]] void Tile(const TileInput<Lanes>& tile) {
  using Element = typename Lanes::Element;
  constexpr int kColumns = Lanes::kColumns;
  constexpr int kReadToSecondLevel = 2;
  typename Lanes::Sum lanes[kRows][kColumns];
  for (auto& row : lanes) {
    for (auto& sum : row) sum = Lanes::Zero();
  }
  const Element* columns_of_w[kColumns];
  for (int n = 0; n < kColumns; ++n) {
    columns_of_w[n] = tile.w + (n < tile.columns ? n : tile.columns - 1) * tile.w_stride;
  }
  const Element* packed = tile.packed;
  const Element* const fetch = tile.fetch;
  const int64_t w_stride = tile.w_stride;
  const int64_t in = tile.in;
  const auto step = [&](const auto& load, int64_t i) __attribute__((always_inline)) {
    typename Lanes::Operand of_w[kColumns];
    for (int n = 0; n < kColumns; ++n) of_w[n] = load(columns_of_w[n] + i);
    for (int m = 0; m < kRows; ++m, packed += kStep<Lanes>) {
      const typename Lanes::Operand of_x = Lanes::Load(packed);
      for (int n = 0; n < kColumns; ++n) {
        lanes[m][n] = Lanes::MultiplyAdd(of_x, of_w[n], lanes[m][n]);
      }
    }
  };
  int64_t i = 0;
  for (; i + kStep<Lanes> <= in; i += kStep<Lanes>) {
    for (int n = 0; n < kFetch; ++n) {
      __builtin_prefetch(fetch + n * w_stride + i, 0, kReadToSecondLevel);
    }
    step(
        [](const Element* p) __attribute__((always_inline)) { return Lanes::Load(p); }, i);
  }
  if (i < in) {
    step([left = in - i](const Element* p) { return LoadLast<Lanes>(p, left); }, i);
  }
  float* sums = tile.sums;
  for (int m = 0; m < kRows; ++m, sums += kDotColumns) {
    // FoldToOne takes four vectors; kColumns is 2 or 4, and two are passed twice.
    __m256 halves[4];
    for (int n = 0; n < 4; ++n) halves[n] = Lanes::Halves(lanes[m][n % kColumns]);
    float values[4];
    _mm_storeu_ps(values, FoldToOne<Lanes>(halves[0], halves[1], halves[2], halves[3]));
    for (int n = 0; n < kColumns; ++n) sums[n] += values[n];
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

// A tile of W stays in the caches while all rows of the group pass, and the next one is prefetched
// during the first tiles of these: spread over as many as there are, so that reading memory and
// computing overlap.
template <class Lanes>
void AddChunk(const DotBlock<typename Lanes::Element>& group, int64_t first, int64_t in,
              typename Lanes::Element* packed, float* sums) {
  constexpr int64_t kRows = Lanes::kRows;
  constexpr int64_t kColumns = Lanes::kColumns;
  const auto rows_at = [&](int64_t row) {
    return group.rows - row < kRows ? group.rows - row : kRows;
  };
  constexpr int64_t kPackedRow = kDotChunk<typename Lanes::Element>;
  for (int64_t row = 0; row < group.rows; row += kRows) {
    Pack<Lanes>(group.x + row * group.x_stride + first, group.x_stride, rows_at(row), in,
                packed + row * kPackedRow);
  }
  const int64_t strips = (group.rows + kRows - 1) / kRows;
  const int64_t fetch_rows = strips >= kColumns ? 1 : strips > 1 ? kColumns / 2 : kColumns;
  for (int64_t n = 0; n < group.columns; n += kColumns) {
    int64_t fetched = 0;
    const typename Lanes::Element* const w = group.w + n * group.w_stride + first;
    for (int64_t row = 0; row < group.rows; row += kRows) {
      const int64_t fetch_now = fetched < kColumns ? fetch_rows : 0;
      RunTile<Lanes>(rows_at(row), fetch_now,
                     {.packed = packed + row * kPackedRow,
                      .w = w,
                      .w_stride = group.w_stride,
                      .columns = group.columns - n,
                      .in = in,
                      .fetch = w + (kColumns + fetched) * group.w_stride,
                      .sums = sums + row * kDotColumns + n});
      fetched += fetch_now;
    }
  }
}

template <class Lanes>
void Store(const float* sums, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = sums[i];
}

// Rounds to the nearest number, and to the even one of two.
template <class Lanes>
void Store(const float* sums, int64_t n, Bfloat16Bits* y) {
  constexpr Bfloat16Bits kNan = 0x7FC0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, sums + i, sizeof(bits));
    const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
    y[i] = __builtin_isnan(sums[i]) ? kNan : static_cast<Bfloat16Bits>(rounded);
  }
}

template <class Lanes>
void RunDotBlock(const DotBlock<typename Lanes::Element>& block) {
  using Element = typename Lanes::Element;
  constexpr int64_t kChunk = kDotChunk<Element>;
  alignas(64) Element packed[kGroupRows * kChunk];
  alignas(64) float sums[kGroupRows * kDotColumns];
  for (int64_t row = 0; row < block.rows; row += kGroupRows) {
    DotBlock<Element> group = block;
    group.x += row * block.x_stride;
    group.y += row * block.y_stride;
    group.rows = block.rows - row < kGroupRows ? block.rows - row : kGroupRows;
    __builtin_memset(sums, 0, static_cast<size_t>(group.rows * kDotColumns) * sizeof(sums[0]));
    int64_t first = 0;
    do {
      const int64_t left = block.in - first;
      const int64_t in = left < kChunk ? left : kChunk;
      AddChunk<Lanes>(group, first, in, packed, sums);
      first += in;
    } while (first < block.in);
    for (int64_t m = 0; m < group.rows; ++m) {
      Store<Lanes>(sums + m * kDotColumns, block.columns, group.y + m * block.y_stride);
    }
  }
}

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_X86_H_
