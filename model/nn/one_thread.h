#ifndef HOOKWIRE_MODEL_NN_ONE_THREAD_H_
#define HOOKWIRE_MODEL_NN_ONE_THREAD_H_

namespace hookwire::model {

// While this object exists, libtorch computes what this thread asks for on this thread alone. For
// operators so small that waking other threads takes longer than the work. `wanted` false: no
// effect.
class OneThread {
 public:
  explicit OneThread(bool wanted);
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  // The settings of this thread to restore: OpenMP's number of threads, and MKL's own.
  int openmp_ = 0;
  int mkl_ = 0;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_ONE_THREAD_H_
