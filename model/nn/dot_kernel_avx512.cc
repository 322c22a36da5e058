#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_avx512.h"
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Lanes512 : Sums512<Lanes512> {
  static constexpr int kRows = 6;
  static constexpr int kColumns = 4;
  using Element = float;
  using Operand = __m512;

  static Operand Load(const Element* p) { return _mm512_loadu_ps(p); }
  static Sum MultiplyAdd(Operand a, Operand b, Sum sum) { return _mm512_fmadd_ps(a, b, sum); }
};

// Fewer rows, since an operand is two registers.
struct Pairs512 : Sums512<Pairs512> {
  static constexpr int kRows = 4;
  static constexpr int kColumns = 4;
  using Element = Bfloat16Bits;
  struct Operand {
    __m512 even;
    __m512 odd;
  };

  static Operand Load(const Element* p) {
    const __m512i pairs = _mm512_loadu_si512(p);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000)))};
  }
  static Sum MultiplyAdd(const Operand& a, const Operand& b, Sum sum) {
    return _mm512_fmadd_ps(a.even, b.even, _mm512_fmadd_ps(a.odd, b.odd, sum));
  }
};

}  // namespace

void DotBlockAvx512(const DotBlock<float>& block) { RunDotBlock<Lanes512>(block); }
void DotBlockAvx512(const DotBlock<Bfloat16Bits>& block) { RunDotBlock<Pairs512>(block); }

}  // namespace hookwire::model
#endif
