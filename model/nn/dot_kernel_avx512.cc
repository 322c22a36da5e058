#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_avx512.h"
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

template <class Lanes>
struct Floats512 : Sums512<Lanes> {
  static constexpr int kRows = 6;
  static constexpr int kColumns = 4;
  using Packed = float;
  using Operand = __m512;

  static Operand LoadPacked(const Packed* p) { return _mm512_load_ps(p); }
  static void StorePacked(Packed* p, Operand v) { _mm512_store_ps(p, v); }
  static __m512 MultiplyAdd(Operand a, Operand b, __m512 sum) { return _mm512_fmadd_ps(a, b, sum); }
};

struct Lanes512 : Floats512<Lanes512> {
  static constexpr int kParts = 1;
  using Element = float;

  static Operand Load(const Element* p, int /*part*/) { return _mm512_loadu_ps(p); }
};

struct Pairs512 : Floats512<Pairs512> {
  static constexpr int kParts = 2;
  using Element = Bfloat16Bits;

  // The odd elements of sixteen pairs, then the even ones.
  static Operand Load(const Element* p, int part) {
    const __m512i pairs = _mm512_loadu_si512(p);
    return _mm512_castsi512_ps(part == 0 ? _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000))
                                         : _mm512_slli_epi32(pairs, 16));
  }
};

}  // namespace

constinit const DotKernel<float> kDotAvx512Float = KernelOf<Lanes512>();
constinit const DotKernel<Bfloat16Bits> kDotAvx512Bfloat16 = KernelOf<Pairs512>();

}  // namespace hookwire::model
#endif
