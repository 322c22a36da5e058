#ifndef HOOKWIRE_MODEL_NN_ONE_THREAD_H_
#define HOOKWIRE_MODEL_NN_ONE_THREAD_H_

namespace hookwire::model {

// While it lives, what its thread asks libtorch for is computed on that thread alone: for work so
// small that waking the others takes longer. Without effect unless `wanted`.
class OneThread {
 public:
  explicit OneThread(bool wanted);
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  // As they were: OpenMP's threads, and MKL's own setting for this thread.
  int openmp_ = 0;
  int mkl_ = 0;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_ONE_THREAD_H_
