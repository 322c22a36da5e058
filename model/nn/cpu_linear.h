// y = x Wᵀ on the CPU, in float32 or bfloat16, for `fast` and `invariant` numerics.
//
// Weights are read in place, from the mapped file: nothing is packed or copied. Sums are float32;
// in bfloat16, y is rounded once, at the end. The bits of a row of y depend only on the same row of
// x and on W (dot_kernel.h). The error is no larger than that of libtorch's products, whose running
// sums are longer. Numbers below 2⁻¹²⁶ may count as 0.
#ifndef HOOKWIRE_MODEL_NN_CPU_LINEAR_H_
#define HOOKWIRE_MODEL_NN_CPU_LINEAR_H_

#include <ATen/core/Tensor.h>

namespace hookwire::model {

// Whether CpuLinear takes this weight [out, in], or CpuGroupedLinear this one [group, out, in]: it
// is float32 or bfloat16 on the CPU, the elements of a row are contiguous, and the processor has
// AVX-512F, or AVX2 and FMA.
bool HasCpuLinear(const at::Tensor& weight);

// Whether libtorch's products with such a weight are faster: in bfloat16 on a processor with a
// matrix unit (AMX), which CpuLinear does not use.
bool IsLibtorchFaster(const at::Tensor& weight);

// x [..., in], weight [out, in] -> [..., out], all of one dtype. Records no gradients. Throws
// c10::Error where the sizes or x's dtype or device do not fit, as CpuGroupedLinear does.
at::Tensor CpuLinear(const at::Tensor& x, const at::Tensor& weight);

// Multiplies each group of adjacent rows by its own weight: x [rows, in], weights [group, out,
// in] -> [rows, out]. ends int32 [group] on the CPU: the number of the row after each group's
// last, in ascending order; the last one is `rows`.
at::Tensor CpuGroupedLinear(const at::Tensor& x, const at::Tensor& weights, const at::Tensor& ends);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_CPU_LINEAR_H_
