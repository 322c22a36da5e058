// y = x Wᵀ on the CPU, in float32, for `fast` and `invariant` numerics.
//
// Weights are used as they lie, in a mapped file: nothing is packed or copied. A row's bits depend
// on that row and the weight alone (dot_kernel.h), and its error is no larger than that of
// libtorch's own products, whose sums run longer.
#ifndef HOOKWIRE_MODEL_NN_CPU_LINEAR_H_
#define HOOKWIRE_MODEL_NN_CPU_LINEAR_H_

#include <ATen/core/Tensor.h>

namespace hookwire::model {

// Whether the products below take this weight [out, in] or [group, out, in]: on the CPU, float32,
// its rows without gaps inside, and the processor has AVX-512F, or AVX2 and FMA.
bool HasCpuLinear(const at::Tensor& weight);

// x float32 [..., in], weight [out, in] -> [..., out]. No gradients are recorded. Throws
// c10::Error, as the next does, where the sizes or x's device do not fit.
at::Tensor CpuLinear(const at::Tensor& x, const at::Tensor& weight);

// Rows in groups, each with a weight of its own: x float32 [rows, in], weights [group, out, in],
// ends int32 [group] on the CPU: where each group's rows end, not falling, the last one `rows`.
// -> [rows, out].
at::Tensor CpuGroupedLinear(const at::Tensor& x, const at::Tensor& weights, const at::Tensor& ends);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_CPU_LINEAR_H_
