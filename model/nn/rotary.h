#ifndef HOOKWIRE_MODEL_NN_ROTARY_H_
#define HOOKWIRE_MODEL_NN_ROTARY_H_

#include <ATen/core/Tensor.h>

#include <utility>

#include "model/config/config.h"
#include "model/numerics.h"

namespace hookwire::model {

// Inverse frequencies of rotary position embedding (Su et al. 2021): float32 [d_head / 2]. With
// rope.proportional, only the first partial_rotary_factor of the pairs are rotated, at frequencies
// that are spread over all of d_head; the frequency of the other pairs is 0.
at::Tensor InverseFrequencies(const RopeConfig& rope, int64_t d_head);

// cos and sin of the angle of each position and feature: `positions` int64 [rows] -> [rows, d_head]
// each, in `dtype`.
std::pair<at::Tensor, at::Tensor> RotaryFactors(const at::Tensor& positions,
                                                const at::Tensor& inverse_frequencies,
                                                at::ScalarType dtype, Numerics numerics);

// Rotates x [rows, head, d_head] by the angles whose cos and sin are [rows, d_head].
at::Tensor ApplyRotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                       Numerics numerics);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_ROTARY_H_
