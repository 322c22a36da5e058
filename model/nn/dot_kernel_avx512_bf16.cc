#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_avx512.h"
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Pairs512 : Sums512<Pairs512> {
  static constexpr int kRows = 6;
  static constexpr int kColumns = 4;
  using Element = Bfloat16Bits;
  using Operand = __m512bh;

  static Operand Load(const Element* p) { return reinterpret_cast<Operand>(_mm512_loadu_si512(p)); }
  static Sum MultiplyAdd(Operand a, Operand b, Sum sum) { return _mm512_dpbf16_ps(sum, a, b); }
};

}  // namespace

void DotBlockAvx512Bf16(const DotBlock<Bfloat16Bits>& block) { RunDotBlock<Pairs512>(block); }

}  // namespace hookwire::model
#endif
