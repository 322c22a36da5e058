#include "model/nn/one_thread.h"

#include <ATen/Parallel.h>

#ifdef _OPENMP
#include <omp.h>
#endif

// Of MKL, which not every libtorch is built with: sets the number of threads for the calling
// thread's products, and returns what it was (0: MKL's global number).
// NOLINTNEXTLINE(readability-identifier-naming): the library's own name.
extern "C" int MKL_Set_Num_Threads_Local(int n_threads) __attribute__((weak));

namespace hookwire::model {
namespace {

void SetThreads([[maybe_unused]] int n_threads) {
#ifdef _OPENMP
  omp_set_num_threads(n_threads);
#endif
}

int SetMklThreads(int n_threads) {
  return MKL_Set_Num_Threads_Local != nullptr ? MKL_Set_Num_Threads_Local(n_threads) : 0;
}

}  // namespace

OneThread::OneThread(bool wanted) {
  if (!wanted) return;
  // libtorch sets a thread's OpenMP number at the first call of this, so call it before SetThreads.
  openmp_ = at::get_num_threads();
  SetThreads(1);
  mkl_ = SetMklThreads(1);
}

OneThread::~OneThread() {
  if (openmp_ == 0) return;
  SetThreads(openmp_);
  SetMklThreads(mkl_);
}

}  // namespace hookwire::model
