#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Sums256 {
  struct Sum {
    __m256 low;
    __m256 high;
  };

  static Sum Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static __m256 Halves(Sum v) { return _mm256_add_ps(v.low, v.high); }
};

struct Lanes256 : Sums256 {
  static constexpr int kRows = 3;
  static constexpr int kColumns = 2;
  using Element = float;
  using Operand = Sum;

  static Operand Load(const Element* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Sum MultiplyAdd(Operand a, Operand b, Sum sum) {
    return {_mm256_fmadd_ps(a.low, b.low, sum.low), _mm256_fmadd_ps(a.high, b.high, sum.high)};
  }
};

// Fewer rows, since an operand is two registers for each half.
struct Pairs256 : Sums256 {
  static constexpr int kRows = 2;
  static constexpr int kColumns = 2;
  using Element = Bfloat16Bits;
  struct Operand {
    __m256i low;
    __m256i high;
  };

  static Operand Load(const Element* p) {
    const auto* const halves = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
  }
  static __m256 Even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
  static __m256 Odd(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
  }
  static __m256 MultiplyAdd(__m256i a, __m256i b, __m256 sum) {
    return _mm256_fmadd_ps(Even(a), Even(b), _mm256_fmadd_ps(Odd(a), Odd(b), sum));
  }
  static Sum MultiplyAdd(const Operand& a, const Operand& b, Sum sum) {
    return {MultiplyAdd(a.low, b.low, sum.low), MultiplyAdd(a.high, b.high, sum.high)};
  }
};

}  // namespace

void DotBlockAvx2(const DotBlock<float>& block) { RunDotBlock<Lanes256>(block); }
void DotBlockAvx2(const DotBlock<Bfloat16Bits>& block) { RunDotBlock<Pairs256>(block); }

}  // namespace hookwire::model
#endif
