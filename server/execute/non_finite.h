// Counts NaN and infinity in tensors that are emitted.
#ifndef HOOKWIRE_SERVER_EXECUTE_NON_FINITE_H_
#define HOOKWIRE_SERVER_EXECUTE_NON_FINITE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hookwire::server {

struct NonFiniteElements {
  uint64_t nan = 0;
  // Of either sign.
  uint64_t inf = 0;

  bool any() const { return nan != 0 || inf != 0; }
  NonFiniteElements& operator+=(const NonFiniteElements& more) {
    nan += more.nan;
    inf += more.inf;
    return *this;
  }
};

// Counts them in `tensor`, which is on the CPU, contiguous, and of a wire dtype. Tests the exponent
// bits, so that a finite tensor takes one read of its memory.
NonFiniteElements CountNonFinite(const at::Tensor& tensor);

// The same while copying it to `to`, which has room for its bytes. Large tensors are written past
// the cache, since this process does not read the copy: memory then need not be read before it is
// written.
NonFiniteElements CopyAndCountNonFinite(const at::Tensor& tensor, void* to);

// The same on the tensor's own device: int64 [NaN, infinite], where `n_masked` (0-d; undefined:
// none) infinite ones are not counted.
at::Tensor CountNonFiniteThere(const at::Tensor& tensor, const at::Tensor& n_masked);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_NON_FINITE_H_
