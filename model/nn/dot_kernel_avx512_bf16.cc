#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Pairs512 {
  static constexpr int kRows = 6;
  static constexpr int kColumns = 4;
  using Element = Bfloat16Bits;
  using Operand = __m512bh;
  using Sum = __m512;

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Operand Load(const Element* p) { return reinterpret_cast<Operand>(_mm512_loadu_si512(p)); }
  static Sum MultiplyAdd(Operand a, Operand b, Sum sum) { return _mm512_dpbf16_ps(sum, a, b); }
  static __m256 Halves(Sum v) {
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    return _mm256_add_ps(_mm512_castps512_ps256(v), upper);
  }
};

}  // namespace

void DotBlockAvx512Bf16(const DotBlock<Bfloat16Bits>& block) { RunDotBlock<Pairs512>(block); }

}  // namespace hookwire::model
#endif
