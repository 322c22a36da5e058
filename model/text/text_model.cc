#include "model/text/text_model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/guard.h"
#include "model/nn/rms_norm.h"
#include "model/nn/rotary.h"
#include "model/text/decoder_layer.h"
#include "model/text/probe.h"
#include "model/text/weights.h"

namespace hookwire::model {
namespace {

absl::StatusOr<at::ScalarType> CheckpointDtype(const Checkpoint& checkpoint) {
  const std::string& dtype = checkpoint.config().dtype;
  if (dtype == "float32") return at::kFloat;
  if (dtype == "bfloat16") return at::kBFloat16;
  if (dtype.empty()) {
    // Older files do not say; the embedding does.
    auto embed = checkpoint.Get(
        absl::StrCat(ModulePath(Component::kEmbed, checkpoint.config(), -1), ".weight"));
    if (!embed.ok()) return embed.status();
    if (embed->scalar_type() == at::kFloat || embed->scalar_type() == at::kBFloat16)
      return embed->scalar_type();
  }
  return absl::InvalidArgumentError(absl::StrCat(checkpoint.directory(), ": dtype ", dtype,
                                                 " is not supported; choose float32 or bfloat16"));
}

// One int64 tensor a part, from one list a sequence.
Ragged ToParts(const Layout& layout, const std::vector<std::vector<int64_t>>& lists,
               at::Device device) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(lists.size());
  for (const std::vector<int64_t>& list : lists)
    tensors.push_back(at::tensor(list, at::kLong).to(device));
  return layout.Join(std::move(tensors));
}

// The sites of one layer type's rotary factors.
struct RotarySites {
  LayerType type;
  Site in, cos, sin;
};
constexpr RotarySites kRotarySites[] = {
    {LayerType::kSliding, Site::kRotarySlidingIn, Site::kRotarySlidingCos, Site::kRotarySlidingSin},
    {LayerType::kFull, Site::kRotaryFullIn, Site::kRotaryFullCos, Site::kRotaryFullSin},
};

// The sites that come after the blocks, in the order of the pass.
constexpr Site kFinalSites[] = {Site::kLnFinalIn,  Site::kLnFinalScale, Site::kLnFinalNormalized,
                                Site::kLnFinalOut, Site::kUnembedIn,    Site::kUnembedOut,
                                Site::kLogits};

}  // namespace

struct TextModel::Impl {
  Impl(std::shared_ptr<const Checkpoint> checkpoint_in, TextWeights weights_in,
       at::ScalarType dtype_in, at::Device device_in)
      : checkpoint(std::move(checkpoint_in)),
        config(checkpoint->config()),
        catalogue(config),
        weights(std::move(weights_in)),
        dtype(dtype_in),
        device(device_in) {
    for (const LayerConfig& layer : config.layers) {
      at::Tensor& frequencies = inverse_frequencies[static_cast<size_t>(layer.type)];
      if (!frequencies.defined()) {
        frequencies =
            InverseFrequencies(config.rope[static_cast<int>(layer.type)], layer.d_head).to(device);
      }
    }
    for (const LayerWeights& layer : weights.layers)
      layer_scalars.push_back(layer.scalar.item<double>());
  }

  Ragged PerLayerInputs(const Ragged& ids, const Ragged& embedded, Numerics numerics) const;
  void VisitRotary(const Ragged& positions, PassState& state, const Probe& probe) const;

  const std::shared_ptr<const Checkpoint> checkpoint;
  const Config& config;
  const Catalogue catalogue;
  const TextWeights weights;
  const at::ScalarType dtype;
  const at::Device device;
  // By layer type: float32 [d_head / 2].
  std::array<at::Tensor, kNumLayerTypes> inverse_frequencies;
  std::vector<double> layer_scalars;
};

// What each layer gets of the per-layer embeddings: of the token itself, and of its embedding's
// projection.
Ragged TextModel::Impl::PerLayerInputs(const Ragged& ids, const Ragged& embedded,
                                       Numerics numerics) const {
  const double projection_scale = std::pow(static_cast<double>(config.d_model), -0.5);
  const double mix_scale = std::pow(2.0, -0.5);
  return Map(ids, embedded, [&](const at::Tensor& part_ids, const at::Tensor& part) {
    const auto by_layer = [this](const at::Tensor& x) {
      return x.unflatten(-1, {config.n_layers(),
                              config.d_per_layer_input});  // [rows, n_layers, d_per_layer_input]
    };
    const at::Tensor token =
        by_layer(at::embedding(weights.per_layer_embed, part_ids) * weights.per_layer_embed_scale);
    const at::Tensor context =
        RmsNorm(by_layer(weights.per_layer_projection(part) * projection_scale),
                weights.per_layer_projection_norm, config.eps, numerics);
    if (numerics == Numerics::kReference) return (context + token) * mix_scale;
    // Rounded once, where bfloat16 would be rounded after the sum and after the product.
    return ((context.to(at::kFloat) + token) * mix_scale).to(part.scalar_type());
  });
}

void TextModel::Impl::VisitRotary(const Ragged& positions, PassState& state,
                                  const Probe& probe) const {
  for (const RotarySites& sites : kRotarySites) {
    if (!config.has_layer_type(sites.type)) continue;
    probe.Visit(sites.in, -1, state.hidden);
    RotaryTable& table = state.rotary[static_cast<size_t>(sites.type)];
    for (const at::Tensor& part : positions) {
      auto [cos, sin] =
          RotaryFactors(part, inverse_frequencies[static_cast<size_t>(sites.type)], dtype);
      table.cos.push_back(std::move(cos));
      table.sin.push_back(std::move(sin));
    }
    table.cos = probe.Visit(sites.cos, -1, std::move(table.cos));
    table.sin = probe.Visit(sites.sin, -1, std::move(table.sin));
  }
}

TextModel::TextModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TextModel::~TextModel() = default;

absl::StatusOr<std::unique_ptr<const TextModel>> TextModel::Load(
    std::shared_ptr<const Checkpoint> checkpoint, const Options& options) {
  absl::StatusOr<at::ScalarType> dtype = at::kFloat;
  if (options.dtype) {
    dtype = *options.dtype;
  } else {
    dtype = CheckpointDtype(*checkpoint);
  }
  if (!dtype.ok()) return dtype.status();
  auto weights = LoadWeights(*checkpoint, *dtype, options.device);
  if (!weights.ok()) return weights.status();
  return Guarded<absl::StatusOr<std::unique_ptr<const TextModel>>>([&] {
    auto impl =
        std::make_unique<Impl>(std::move(checkpoint), *std::move(weights), *dtype, options.device);
    return std::unique_ptr<const TextModel>(new TextModel(std::move(impl)));
  });
}

const Config& TextModel::config() const { return impl_->config; }
const Catalogue& TextModel::catalogue() const { return impl_->catalogue; }
at::ScalarType TextModel::dtype() const { return impl_->dtype; }
at::Device TextModel::device() const { return impl_->device; }
const std::vector<double>& TextModel::layer_scalars() const { return impl_->layer_scalars; }
int64_t TextModel::n_params() const { return impl_->weights.n_params; }

int64_t TextModel::TokenLimit() const {
  const Config& config = impl_->config;
  return config.has_per_layer_inputs() ? std::min(config.d_vocab, config.d_vocab_per_layer_input)
                                       : config.d_vocab;
}

absl::StatusOr<PassState> TextModel::Begin(std::vector<std::vector<int64_t>> sequences,
                                           Numerics numerics, Tap& tap) const {
  return Guarded<absl::StatusOr<PassState>>([&]() -> absl::StatusOr<PassState> {
    const Impl& model = *impl_;
    std::vector<int64_t> lengths;
    std::vector<at::Tensor> positions;
    for (std::vector<int64_t>& ids : sequences) {
      lengths.push_back(static_cast<int64_t>(ids.size()));
      positions.push_back(
          at::arange(lengths.back(), at::TensorOptions().dtype(at::kLong).device(model.device)));
      for (const int64_t placeholder : model.config.placeholder_token_ids) {
        std::replace(ids.begin(), ids.end(), placeholder, model.config.pad_token_id.value_or(0));
      }
    }
    PassState state;
    state.layout = Layout(lengths, numerics);
    const Probe probe(model.catalogue, state.layout, tap);

    const Ragged ids =
        probe.Visit(Site::kEmbedIn, -1, ToParts(state.layout, sequences, model.device));
    const TextWeights& weights = model.weights;
    Ragged embedded = Map(ids, [&weights](const at::Tensor& part) {
      return at::embedding(weights.embed, part) * weights.embed_scale;  // [rows, d_model]
    });
    state.hidden = probe.Visit(Site::kEmbedOut, -1, std::move(embedded));
    if (model.config.has_per_layer_inputs()) {
      state.per_layer_inputs = model.PerLayerInputs(ids, state.hidden, numerics);
    }
    model.VisitRotary(state.layout.Join(std::move(positions)), state, probe);
    return state;
  });
}

absl::Status TextModel::RunLayers(PassState& state, int end_layer, Tap& tap) const {
  return Guarded<absl::Status>([&] {
    const Probe probe(impl_->catalogue, state.layout, tap);
    while (state.next_layer < end_layer) {
      const int layer = state.next_layer;
      RunDecoderLayer(impl_->config, impl_->weights.layers[static_cast<size_t>(layer)], layer,
                      state, probe);
      state.next_layer = layer + 1;
      probe.LayerDone(layer);
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<at::Tensor>> TextModel::Finish(
    PassState& state, const std::vector<std::vector<int64_t>>& rows, Tap& tap) const {
  using Result = absl::StatusOr<std::vector<at::Tensor>>;
  return Guarded<Result>([&]() -> Result {
    const Impl& model = *impl_;
    const Layout& layout = state.layout;
    const Numerics numerics = layout.numerics();
    const Probe asked(model.catalogue, layout, tap);

    // A sequence goes on with all its rows where somebody looks at what follows, or where bits
    // depend on the number of rows; else with those whose logits are wanted.
    std::vector<std::vector<int64_t>> picked = rows;
    std::vector<at::Tensor> entering;
    std::vector<int64_t> lengths;
    for (int s = 0; s < layout.n_sequences(); ++s) {
      at::Tensor x = layout.Rows(state.hidden, s);
      std::vector<int64_t>& pick = picked[static_cast<size_t>(s)];
      const bool looked_at = std::any_of(std::begin(kFinalSites), std::end(kFinalSites),
                                         [&](Site site) { return asked.Wants(site, -1, s); });
      if (!looked_at && (numerics == Numerics::kFast || pick.empty())) {
        x = x.index_select(0, at::tensor(pick, at::kLong).to(model.device));
        pick.clear();
      }
      lengths.push_back(x.size(0));
      entering.push_back(std::move(x));
    }
    const Layout finish(lengths, numerics);
    const Probe probe(model.catalogue, finish, tap);
    Ragged x = finish.Join(std::move(entering));
    x = HookedNorm(model.config, model.weights.final_norm, Site::kLnFinalIn, -1, std::move(x),
                   probe);
    x = probe.Visit(Site::kUnembedIn, -1, std::move(x));
    x = probe.Visit(Site::kUnembedOut, -1, Map(x, model.weights.unembed));  // [rows, d_vocab]
    if (model.config.final_logit_softcap) {
      const double cap = *model.config.final_logit_softcap;
      x = Map(x, [cap](const at::Tensor& raw) { return (raw / cap).tanh() * cap; });
    }
    x = probe.Visit(Site::kLogits, -1, std::move(x));

    std::vector<at::Tensor> logits = finish.Split(x);
    for (size_t s = 0; s < logits.size(); ++s) {
      if (rows[s].empty()) {
        logits[s] = at::Tensor();
      } else if (!picked[s].empty()) {
        logits[s] = logits[s].index_select(0, at::tensor(picked[s], at::kLong).to(model.device));
      }
    }
    return logits;
  });
}

std::vector<at::Tensor> TextModel::Residual(const PassState& state) {
  return state.layout.Split(state.hidden);
}

}  // namespace hookwire::model
