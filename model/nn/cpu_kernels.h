// Small operators for `fast` and `invariant` numerics on the CPU, each of which reads and writes
// memory once. libtorch has them as chains of up to ten calls, or with bits that depend on the
// position of a row in the tensor.
//
// They record no gradients (HasCpuKernels). Results do not depend on the number of rows, the number
// of threads or the processor's instruction set.
#ifndef HOOKWIRE_MODEL_NN_CPU_KERNELS_H_
#define HOOKWIRE_MODEL_NN_CPU_KERNELS_H_

#include <ATen/core/Tensor.h>

namespace hookwire::model {

// Whether the kernels below may be used for this tensor: it is on the CPU, float32 or bfloat16, and
// no gradients are being recorded.
bool HasCpuKernels(const at::Tensor& x);

// RmsNorm over the last axis; see nn/rms_norm.h. Any leading axes.
at::Tensor CpuRmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// ApplyRotary; see nn/rotary.h. x [rows, head, d_head], cos and sin [rows, d_head].
at::Tensor CpuApplyRotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// weight[ids] × scale: weight [d_vocab, d], ids int64 [rows]; scale 0-d, in the weight's dtype. The
// bits are those of libtorch's two operators. REQUIRES: every id is below d_vocab.
at::Tensor CpuScaledEmbedding(const at::Tensor& weight, const at::Tensor& ids,
                              const at::Tensor& scale);

// GatedGelu, rounded once; see nn/gelu.h. gate and up [rows, d], with any stride between rows.
at::Tensor CpuGatedGelu(const at::Tensor& gate, const at::Tensor& up);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_CPU_KERNELS_H_
