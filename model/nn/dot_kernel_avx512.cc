#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Lanes512 {
  static constexpr int kRows = 6;
  static constexpr int kColumns = 4;
  using Vector = __m512;

  static Vector Zero() { return _mm512_setzero_ps(); }
  static Vector Load(const float* p) { return _mm512_loadu_ps(p); }
  static Vector LoadSome(const float* p, int64_t n) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1U), p);
  }
  static Vector MultiplyAdd(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
  static __m256 Halves(Vector v) {
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    return _mm256_add_ps(_mm512_castps512_ps256(v), upper);
  }
};

}  // namespace

void DotBlockAvx512(const DotBlock& block) { RunDotBlock<Lanes512>(block); }

}  // namespace hookwire::model
#endif
