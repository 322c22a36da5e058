#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Lanes256 {
  static constexpr int kRows = 3;
  static constexpr int kColumns = 2;
  struct Vector {
    __m256 low;
    __m256 high;
  };

  static Vector Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Vector Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Vector LoadSome(const float* p, int64_t n) {
    float values[kDotLanes] = {};
    __builtin_memcpy(values, p, static_cast<size_t>(n) * sizeof(float));
    return Load(values);
  }
  static Vector MultiplyAdd(Vector a, Vector b, Vector sum) {
    return {_mm256_fmadd_ps(a.low, b.low, sum.low), _mm256_fmadd_ps(a.high, b.high, sum.high)};
  }
  static __m256 Halves(Vector v) { return _mm256_add_ps(v.low, v.high); }
};

}  // namespace

void DotBlockAvx2(const DotBlock& block) { RunDotBlock<Lanes256>(block); }

}  // namespace hookwire::model
#endif
