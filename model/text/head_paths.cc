#include "model/text/head_paths.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/where.h>

#include <utility>

#include "model/nn/rms_norm.h"

namespace hookwire::model {
namespace {

std::optional<HeadInput> VisitHeadInput(Site site, int layer, int64_t n_heads, const Ragged& stream,
                                        const Probe& probe) {
  if (!probe.Wants(site, layer)) return std::nullopt;
  HeadInput input;
  input.shared = Map(stream, [](const at::Tensor& x) { return x.unsqueeze(1); });
  const Ragged copies = Map(input.shared, [n_heads](const at::Tensor& x) {
    return x.expand({-1, n_heads, -1});
  });
  input.written = probe.Visit(site, layer, copies);
  for (size_t i = 0; i < copies.size(); ++i) {
    if (!input.written[i].is_same(copies[i])) return input;
  }
  return std::nullopt;
}

}  // namespace

HeadInputs VisitHeadInputs(const Config& config, int layer, const Ragged& stream,
                           const Probe& probe) {
  const LayerConfig& at = config.layers[static_cast<size_t>(layer)];
  HeadInputs inputs;
  inputs.q = VisitHeadInput(Site::kQInput, layer, at.n_heads, stream, probe);
  inputs.k = VisitHeadInput(Site::kKInput, layer, at.n_key_value_heads, stream, probe);
  inputs.v = VisitHeadInput(Site::kVInput, layer, at.n_key_value_heads, stream, probe);
  return inputs;
}

Ragged ProjectHeadInput(const Config& config, const at::Tensor& ln1, const Linear& projection,
                        const HeadInput& input, const Ragged& projected, Numerics numerics) {
  Ragged out;
  for (size_t i = 0; i < projected.size(); ++i) {
    const int64_t n_heads = projected[i].size(1);
    const at::Tensor x =
        RmsNorm(input.written[i], ln1, config.eps, numerics);  // [rows, head, d_model]
    const at::Tensor weight =
        projection.weight.unflatten(0, {n_heads, -1});         // [head, d_head, d_model]
    at::Tensor own = at::einsum("rhm,hdm->rhd", {x, weight});  // [rows, head, d_head]
    if (projection.bias.defined()) own = own + projection.bias.unflatten(0, {n_heads, -1});
    const at::Tensor unchanged =
        (input.written[i] == input.shared[i]).all(-1, /*keepdim=*/true);  // [rows, head, 1]
    out.push_back(at::where(unchanged, projected[i], own));
  }
  return out;
}

Ragged VisitHeadResults(const Linear& output, int layer, const Ragged& z, Ragged out,
                        const Probe& probe) {
  const Ragged results = Map(z, [&output](const at::Tensor& part) {
    const at::Tensor weight =
        output.weight.unflatten(1, {part.size(1), part.size(2)});  // [d_model, head, d_head]
    return at::einsum("rhd,mhd->rhm", {part, weight});             // [rows, head, d_model]
  });
  const Ragged written = probe.Visit(Site::kResult, layer, results);
  for (size_t i = 0; i < results.size(); ++i) {
    if (written[i].is_same(results[i])) continue;
    const at::Tensor change =
        (written[i].to(at::kFloat) - results[i].to(at::kFloat)).sum(1);  // [rows, d_model]
    const at::Tensor untouched =
        (written[i] == results[i]).all(-1).all(-1, /*keepdim=*/true);  // [rows, 1]
    out[i] =
        at::where(untouched, out[i], (out[i].to(at::kFloat) + change).to(out[i].scalar_type()));
  }
  return out;
}

}  // namespace hookwire::model
