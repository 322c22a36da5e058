// The mixture of experts (Shazeer et al. 2017) of Gemma 4 26B-A4B: a router picks k of E gated MLPs
// for each token.
#ifndef HOOKWIRE_MODEL_NN_EXPERTS_H_
#define HOOKWIRE_MODEL_NN_EXPERTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/numerics.h"

namespace hookwire::model {

struct RouterWeights {
  at::Tensor projection;        // [expert, d_model]
  at::Tensor scale;             // [d_model]
  at::Tensor per_expert_scale;  // [expert]
};

struct ExpertWeights {
  at::Tensor gate_up;  // [expert, 2 × d_expert, d_model]: gates first
  at::Tensor down;     // [expert, d_model, d_expert]
  // Linear::tiles that hold for the products of all experts; empty where CpuGroupedLinear computes
  // them.
  std::vector<int64_t> gate_up_tiles = {};
  std::vector<int64_t> down_tiles = {};
};

// x [rows, d_model] -> [rows, expert]: norm without weight, × scale / √d_model, projected.
at::Tensor RouterScores(const at::Tensor& x, const RouterWeights& weights, double eps,
                        Numerics numerics);
// Softmax over the experts, float32.
at::Tensor RouterProbabilities(const at::Tensor& scores);

struct Routing {
  at::Tensor weights;  // float32 [rows, k]: the k largest probabilities, divided by their sum, ×
                       // per_expert_scale
  at::Tensor indices;  // int64 [rows, k]
};
Routing ChooseExperts(const at::Tensor& probabilities, const RouterWeights& weights, int64_t k);

// x [rows, d_model] -> [rows, d_model]: the weighted sum of the chosen experts' outputs. In
// `invariant` a row's bits do not depend on the others. `between_steps` is called between the
// products, and ends the computation by throwing.
at::Tensor RunExperts(
    const at::Tensor& x, const Routing& routing, const ExpertWeights& weights, Numerics numerics,
    absl::FunctionRef<void()> between_steps = [] {});

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_EXPERTS_H_
