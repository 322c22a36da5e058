// Random tensors that are the same in every run.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_RANDOM_TENSOR_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_RANDOM_TENSOR_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <limits>
#include <random>

namespace hookwire::testing {

// Normal numbers, the same for the same seed and shape.
inline at::Tensor RandomTensor(at::IntArrayRef shape, unsigned seed,
                               at::ScalarType dtype = at::kFloat) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  float* numbers = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) numbers[i] = normal(random);
  return tensor.to(dtype);
}

// The greatest absolute difference.
inline double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_RANDOM_TENSOR_H_
