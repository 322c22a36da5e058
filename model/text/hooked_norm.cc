#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include <utility>

#include "model/nn/rms_norm.h"
#include "model/text/decoder_layer.h"

namespace hookwire::model {
namespace {

Site Next(Site site, int n) { return static_cast<Site>(static_cast<int>(site) + n); }

// The norm in steps, of the parts that are defined. Elements that the tap does not change keep
// their bits.
Ragged NormInSteps(const Config& config, const at::Tensor& weight, Site in, int layer,
                   const Ragged& x, const Probe& probe) {
  Ragged input;
  Ragged scale;
  Ragged normalized;
  for (const at::Tensor& part : x) {
    RmsNormSteps steps;
    if (part.defined()) steps = BeginRmsNorm(part, config.eps);
    input.push_back(std::move(steps.input));
    scale.push_back(std::move(steps.scale));
    normalized.push_back(std::move(steps.normalized));
  }
  const Ragged written = probe.Visit(Next(in, 1), layer, scale);
  for (size_t i = 0; i < scale.size(); ++i) {
    if (written[i].is_same(scale[i])) continue;
    normalized[i] = at::where(written[i] == scale[i], normalized[i], input[i] / written[i]);
  }
  normalized = probe.Visit(Next(in, 2), layer, std::move(normalized));
  return Map(normalized, x, [&](const at::Tensor& n, const at::Tensor& part) {
    return part.defined() ? EndRmsNorm(n, weight, part.scalar_type()) : part;
  });
}

}  // namespace

Ragged HookedNorm(const Config& config, const at::Tensor& weight, Site in, int layer, Ragged x,
                  const Probe& probe) {
  x = probe.Visit(in, layer, std::move(x));
  const Numerics numerics = probe.layout().numerics();
  const auto norm = [&](const at::Tensor& part) {
    return RmsNorm(part, weight, config.eps, numerics);
  };
  if (!probe.Wants(Next(in, 1), layer) && !probe.Wants(Next(in, 2), layer)) {
    return probe.Visit(Next(in, 3), layer, Map(x, norm));
  }
  // The parts that are computed in steps. In `invariant` a part is one sequence, and only those
  // that a hook wants go in steps, since these may have other bits than RmsNorm.
  Ragged stepped;
  for (size_t i = 0; i < x.size(); ++i) {
    const int s = static_cast<int>(i);
    const bool steps = numerics != Numerics::kInvariant || probe.Wants(Next(in, 1), layer, s) ||
                       probe.Wants(Next(in, 2), layer, s);
    stepped.push_back(steps ? x[i] : at::Tensor());
  }
  stepped = NormInSteps(config, weight, in, layer, stepped, probe);
  Ragged out = Map(x, stepped, [&](const at::Tensor& part, const at::Tensor& in_steps) {
    return in_steps.defined() ? in_steps : norm(part);
  });
  return probe.Visit(Next(in, 3), layer, std::move(out));
}

}  // namespace hookwire::model
