#include "model/text/decoder_layer.h"

#include <ATen/TensorOperators.h>

#include <cstdint>
#include <utility>

#include "model/nn/gelu.h"
#include "model/nn/one_thread.h"
#include "model/text/attention_block.h"
#include "model/text/project.h"

namespace hookwire::model {
namespace {

// A layer is some dozens of operators. With fewer multiplications in all of them, to wake other
// threads for each takes longer than the work.
constexpr int64_t kLeastForThreads = int64_t{1} << 24;

// About how many multiplications a layer takes: stream [rows, d_model].
int64_t Multiplications(const Config& config, const LayerWeights& weights, const Ragged& stream) {
  int64_t rows = 0;
  for (const at::Tensor& part : stream) rows += part.size(0);
  int64_t a_row = 2 * weights.q.weight.numel() + 3 * weights.gate.weight.numel();
  if (config.has_experts()) {
    const int64_t experts = weights.mixture.experts.down.numel() / config.n_experts;
    a_row += 3 * experts * config.n_experts_per_token;
  }
  return rows * a_row;
}

at::Tensor Add(const at::Tensor& a, const at::Tensor& b) { return a + b; }

// x [rows, d_model] -> [rows, d_model].
Ragged GatedMlp(const LayerWeights& weights, int layer, Ragged x, const Probe& probe) {
  const Numerics numerics = probe.layout().numerics();
  x = probe.Visit(Site::kMlpIn, layer, std::move(x));
  const Ragged gate = probe.Visit(
      Site::kGateOut, layer, Project(probe.Visit(Site::kGateIn, layer, x), weights.gate, numerics));
  const Ragged up = probe.Visit(Site::kUpOut, layer,
                                Project(probe.Visit(Site::kUpIn, layer, x), weights.up, numerics));
  Ragged inner = Map(gate, up, [numerics](const at::Tensor& g, const at::Tensor& u) {
    return GatedGelu(g, u, numerics);
  });
  inner = probe.Visit(Site::kDownIn, layer, std::move(inner));  // [rows, d_mlp]
  Ragged out = probe.Visit(Site::kDownOut, layer, Project(inner, weights.down, numerics));
  return probe.Visit(Site::kMlpOut, layer, std::move(out));
}

// The experts, which run beside the dense MLP: the residual stream [rows, d_model] -> what they add
// to the MLP's output, [rows, d_model].
Ragged Mixture(const Config& config, const MixtureWeights& weights, int layer, const Ragged& stream,
               const Probe& probe) {
  const Numerics numerics = probe.layout().numerics();
  const Ragged router_in = probe.Visit(Site::kRouterIn, layer, stream);
  const Ragged scores =
      probe.Visit(Site::kRouterScores, layer, Map(router_in, [&](const at::Tensor& x) {
                    return RouterScores(x, weights.router, config.eps, numerics);
                  }));
  const Ragged probabilities =
      probe.Visit(Site::kRouterOut, layer, Map(scores, RouterProbabilities));
  Ragged routing_weights;
  Ragged routing_indices;
  for (const at::Tensor& part : probabilities) {
    Routing routing = ChooseExperts(part, weights.router, config.n_experts_per_token);
    routing_weights.push_back(std::move(routing.weights));
    routing_indices.push_back(std::move(routing.indices));
  }
  routing_weights = probe.Visit(Site::kRouterWeights, layer, std::move(routing_weights));
  routing_indices = probe.Visit(Site::kRouterIndices, layer, std::move(routing_indices));

  Ragged x = HookedNorm(config, weights.pre_norm_2, Site::kPreFf2In, layer, stream, probe);
  x = probe.Visit(Site::kExpertsIn, layer, std::move(x));
  const auto step = [&probe] { probe.Step(); };
  if (numerics != Numerics::kInvariant) {
    for (size_t i = 0; i < x.size(); ++i) {
      probe.Step();
      x[i] = RunExperts(x[i], {routing_weights[i], routing_indices[i]}, weights.experts, numerics,
                        step);
    }
  } else {
    const Routing routing = {AllRows(routing_weights), AllRows(routing_indices)};
    x = SplitLike(x, RunExperts(AllRows(x), routing, weights.experts, numerics, step));
  }
  x = probe.Visit(Site::kExpertsOut, layer, std::move(x));
  return HookedNorm(config, weights.post_norm_2, Site::kPostFf2In, layer, std::move(x), probe);
}

// What the per-layer embedding adds to the residual stream: stream [rows, d_model] -> [rows,
// d_model].
Ragged PerLayerInput(const Config& config, const PerLayerWeights& weights, int layer,
                     const Ragged& stream, const PassState& state, const Probe& probe) {
  const Numerics numerics = probe.layout().numerics();
  const Ragged gate_in = probe.Visit(Site::kPleGateIn, layer, stream);
  const Ragged gate =
      probe.Visit(Site::kPleGateOut, layer,
                  Project(gate_in, weights.gate, numerics));  // [rows, d_per_layer_input]
  const Ragged signal = probe.Visit(
      Site::kPerLayerInput, layer,
      Map(state.per_layer_inputs, [layer](const at::Tensor& x) { return x.select(1, layer); }));
  Ragged x = Map(gate, signal, [numerics](const at::Tensor& g, const at::Tensor& s) {
    return GatedGelu(g, s, numerics);
  });
  x = probe.Visit(Site::kPleProjectionIn, layer, std::move(x));
  x = probe.Visit(Site::kPleProjectionOut, layer, Project(x, weights.projection, numerics));
  return HookedNorm(config, weights.post_norm, Site::kPleNormIn, layer, std::move(x), probe);
}

}  // namespace

void RunDecoderLayer(const Config& config, const LayerWeights& weights, int layer, PassState& state,
                     const Probe& probe) {
  const OneThread small(probe.layout().numerics() != Numerics::kReference &&
                        Multiplications(config, weights, state.hidden) < kLeastForThreads);
  Ragged stream = probe.Visit(Site::kBlockIn, layer, std::move(state.hidden));

  Ragged attention = AttentionBlock(config, weights, layer, stream, state, probe);
  attention =
      HookedNorm(config, weights.ln1_post, Site::kLn1PostIn, layer, std::move(attention), probe);
  Ragged* const both[] = {&stream, &attention};
  LeaveRows(state, layer, Place::kMlp, both);
  stream = probe.Visit(Site::kResidMid, layer, Map(stream, attention, Add));

  Ragged mlp = HookedNorm(config, weights.ln2, Site::kLn2In, layer, stream, probe);
  mlp = GatedMlp(weights, layer, std::move(mlp), probe);
  if (config.has_experts()) {
    mlp = HookedNorm(config, weights.mixture.post_norm_1, Site::kPostFf1In, layer, std::move(mlp),
                     probe);
    mlp = Map(mlp, Mixture(config, weights.mixture, layer, stream, probe), Add);
  }
  mlp = HookedNorm(config, weights.ln2_post, Site::kLn2PostIn, layer, std::move(mlp), probe);

  // No hook point shows the stream between here and the end of the layer. `reference` rounds it
  // after each step, as Transformers does; `fast` and `invariant` keep it in float32 and round it
  // once.
  const at::ScalarType dtype = stream.front().scalar_type();
  const bool wide = probe.layout().numerics() != Numerics::kReference;
  if (wide) stream = Map(stream, [](const at::Tensor& x) { return x.to(at::kFloat); });
  const auto narrow = [dtype](const at::Tensor& x) { return x.to(dtype); };
  stream = Map(stream, mlp, Add);
  if (config.has_per_layer_inputs()) {
    stream = Map(stream,
                 PerLayerInput(config, weights.per_layer, layer, Map(stream, narrow), state, probe),
                 Add);
  }
  stream = Map(stream, [&](const at::Tensor& x) { return narrow(x * weights.scalar); });
  state.hidden = probe.Visit(Site::kBlockOut, layer, std::move(stream));
}

}  // namespace hookwire::model
