#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include <utility>

#include "model/nn/rms_norm.h"
#include "model/text/decoder_layer.h"

namespace hookwire::model {
namespace {

Site Next(Site site, int n) { return static_cast<Site>(static_cast<int>(site) + n); }

// The norm in steps. What a tap leaves alone keeps its bits.
Ragged NormInSteps(const Config& config, const at::Tensor& weight, Site in, int layer,
                   const Ragged& x, const Probe& probe) {
  Ragged input;
  Ragged scale;
  Ragged normalized;
  for (const at::Tensor& part : x) {
    RmsNormSteps steps = BeginRmsNorm(part, config.eps);
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
    return EndRmsNorm(n, weight, part.scalar_type());
  });
}

}  // namespace

Ragged HookedNorm(const Config& config, const at::Tensor& weight, Site in, int layer, Ragged x,
                  const Probe& probe) {
  x = probe.Visit(in, layer, std::move(x));
  Ragged out;
  if (probe.Wants(Next(in, 1), layer) || probe.Wants(Next(in, 2), layer)) {
    out = NormInSteps(config, weight, in, layer, x, probe);
  } else {
    const Numerics numerics = probe.layout().numerics();
    out =
        Map(x, [&](const at::Tensor& part) { return RmsNorm(part, weight, config.eps, numerics); });
  }
  return probe.Visit(Next(in, 3), layer, std::move(out));
}

}  // namespace hookwire::model
