#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_avx512.h"
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Pairs512 : Sums512<Pairs512> {
  static constexpr int kRows = 6;
  static constexpr int kColumns = 4;
  static constexpr int kParts = 1;
  using Element = Bfloat16Bits;
  using Packed = Bfloat16Bits;
  using Operand = __m512bh;

  static Operand Load(const Element* p, int /*part*/) {
    return reinterpret_cast<Operand>(_mm512_loadu_si512(p));
  }
  static Operand LoadPacked(const Packed* p) {
    return reinterpret_cast<Operand>(_mm512_load_si512(p));
  }
  static void StorePacked(Packed* p, Operand v) {
    _mm512_store_si512(p, reinterpret_cast<__m512i>(v));
  }
  static Sum MultiplyAdd(Operand a, Operand b, Sum sum) { return _mm512_dpbf16_ps(sum, a, b); }
};

}  // namespace

constinit const DotKernel<Bfloat16Bits> kDotAvx512Bf16 = KernelOf<Pairs512>();

}  // namespace hookwire::model
#endif
