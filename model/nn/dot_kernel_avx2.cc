#include "model/nn/dot_kernel.h"

#if defined(__x86_64__)
#include "model/nn/dot_kernel_x86.h"

namespace hookwire::model {
namespace {

struct Halves256 {
  __m256 low;
  __m256 high;
};

template <class Lanes>
struct Floats256 {
  // All of it is static.
  Floats256() = delete;

  static constexpr int kRows = 3;
  static constexpr int kColumns = 2;
  using Packed = float;
  using Operand = Halves256;
  using Sum = Halves256;

  static Operand LoadPacked(const Packed* p) { return {_mm256_load_ps(p), _mm256_load_ps(p + 8)}; }
  static void StorePacked(Packed* p, const Operand& v) {
    _mm256_store_ps(p, v.low);
    _mm256_store_ps(p + 8, v.high);
  }
  static Sum LoadSum(const float* p) { return LoadPacked(p); }
  static void StoreSum(float* p, const Sum& v) { StorePacked(p, v); }
  static Sum Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Sum MultiplyAdd(const Operand& a, const Operand& b, const Sum& sum) {
    return {_mm256_fmadd_ps(a.low, b.low, sum.low), _mm256_fmadd_ps(a.high, b.high, sum.high)};
  }
  static Sum Add(const Sum& a, const Sum& b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static __m256 Halves(const Sum& v) { return _mm256_add_ps(v.low, v.high); }
};

struct Lanes256 : Floats256<Lanes256> {
  static constexpr int kParts = 1;
  using Element = float;

  static Operand Load(const Element* p, int /*part*/) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
  }
};

struct Pairs256 : Floats256<Pairs256> {
  static constexpr int kParts = 2;
  using Element = Bfloat16Bits;

  // The odd elements of sixteen pairs, then the even ones.
  static Operand Load(const Element* p, int part) {
    const auto* const pairs = reinterpret_cast<const __m256i*>(p);
    return {Part(_mm256_loadu_si256(pairs), part), Part(_mm256_loadu_si256(pairs + 1), part)};
  }
  static __m256 Part(__m256i pairs, int part) {
    return _mm256_castsi256_ps(part == 0 ? _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000))
                                         : _mm256_slli_epi32(pairs, 16));
  }
};

}  // namespace

constinit const DotKernel<float> kDotAvx2Float = KernelOf<Lanes256>();
constinit const DotKernel<Bfloat16Bits> kDotAvx2Bfloat16 = KernelOf<Pairs256>();

}  // namespace hookwire::model
#endif
