// NaN and infinity in tensors that leave.
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

// How many there are in `tensor`: on the CPU, contiguous, of a dtype of the wire. Reads the bits,
// so that a finite tensor costs one pass over its memory.
NonFiniteElements CountNonFinite(const at::Tensor& tensor);

// The same while it is copied to `to`, which has room for its bytes. Large tensors go past the
// cache: nobody here reads the copy, and memory is written without being read first.
NonFiniteElements CopyAndCountNonFinite(const at::Tensor& tensor, void* to);

// The same for a tensor on any device, made there: int64 [NaN, infinite], less `n_masked` infinite
// ones (0-d; undefined: none).
at::Tensor CountNonFiniteThere(const at::Tensor& tensor, const at::Tensor& n_masked);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_NON_FINITE_H_
