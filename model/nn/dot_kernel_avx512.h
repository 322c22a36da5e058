// What the two kernels with 512-bit registers share: dot_kernel_avx512.cc and
// dot_kernel_avx512_bf16.cc.
#ifndef HOOKWIRE_MODEL_NN_DOT_KERNEL_AVX512_H_
#define HOOKWIRE_MODEL_NN_DOT_KERNEL_AVX512_H_

#include <immintrin.h>

namespace hookwire::model {

// The part of Lanes (dot_kernel_x86.h) that is about its sums. A template over Lanes, for the
// reason that is given there.
template <class Lanes>
struct Sums512 {
  // All of it is static.
  Sums512() = delete;

  using Sum = __m512;

  static Sum LoadSum(const float* p) { return _mm512_load_ps(p); }
  static void StoreSum(float* p, Sum v) { _mm512_store_ps(p, v); }
  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Add(Sum a, Sum b) { return _mm512_add_ps(a, b); }
  static __m256 Halves(Sum v) {
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    return _mm256_add_ps(_mm512_castps512_ps256(v), upper);
  }
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_DOT_KERNEL_AVX512_H_
