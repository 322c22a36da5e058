#include "model/nn/one_thread.h"

#include <ATen/Parallel.h>

#ifdef _OPENMP
#include <omp.h>
#endif

// MKL's, where libtorch is built with it: the threads of the caller's products. Returns what was
// set before; 0: as many as all have.
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
  // Asked of libtorch, which sets a thread's number when it is asked first.
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
