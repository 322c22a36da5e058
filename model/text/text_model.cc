#include "model/text/text_model.h"

#include <ATen/ScalarOps.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/guard.h"
#include "model/nn/cpu_kernels.h"
#include "model/nn/cpu_linear.h"
#include "model/nn/rms_norm.h"
#include "model/nn/rotary.h"
#include "model/text/decoder_layer.h"
#include "model/text/needed_rows.h"
#include "model/text/probe.h"
#include "model/text/project.h"
#include "model/text/weights.h"

namespace hookwire::model {
namespace {

absl::StatusOr<at::ScalarType> CheckpointDtype(const Checkpoint& checkpoint) {
  const std::string& dtype = checkpoint.config().dtype;
  if (dtype == "float32") return at::kFloat;
  if (dtype == "bfloat16") return at::kBFloat16;
  if (dtype.empty()) {
    // Older config.json files have no dtype: take the embedding's.
    auto embed = checkpoint.Get(
        absl::StrCat(ModulePath(Component::kEmbed, checkpoint.config(), -1), ".weight"));
    if (!embed.ok()) return embed.status();
    if (embed->scalar_type() == at::kFloat || embed->scalar_type() == at::kBFloat16)
      return embed->scalar_type();
  }
  return absl::InvalidArgumentError(absl::StrCat(checkpoint.directory(), ": dtype ", dtype,
                                                 " is not supported; choose float32 or bfloat16"));
}

// The token ids of the sequences, int64 [rows], by part.
Ragged ToParts(const Layout& layout, const std::vector<std::vector<int64_t>>& lists,
               at::Device device) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(lists.size());
  for (const std::vector<int64_t>& list : lists)
    tensors.push_back(at::tensor(list, at::kLong).to(device));
  return layout.Join(std::move(tensors));
}

// weight[ids] × scale: [rows] -> [rows, d].
at::Tensor ScaledEmbedding(const at::Tensor& weight, const at::Tensor& scale,
                           const at::Tensor& ids) {
  if (HasCpuKernels(weight)) return CpuScaledEmbedding(weight, ids, scale);
  return at::embedding(weight, ids).mul_(scale);
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

// The sites after the last layer whose values are [pos, d_model], and those with [pos, d_vocab].
constexpr Site kFinalNormSites[] = {Site::kLnFinalIn, Site::kLnFinalScale, Site::kLnFinalNormalized,
                                    Site::kLnFinalOut, Site::kUnembedIn};
constexpr Site kVocabularySites[] = {Site::kUnembedOut, Site::kLogits};

template <size_t n>
bool WantsAny(const Probe& probe, const Site (&sites)[n], int sequence) {
  return std::any_of(std::begin(sites), std::end(sites),
                     [&](Site site) { return probe.Wants(site, -1, sequence); });
}

// Row numbers of these positions among the rows that the sequence still has.
std::vector<int64_t> RowsAt(std::vector<int64_t> positions, const Span& span) {
  for (int64_t& position : positions) position -= span.position;
  return positions;
}

at::Tensor SelectRows(const at::Tensor& x, const std::vector<int64_t>& rows) {
  return x.index_select(0, at::tensor(rows, at::kLong).to(x.device()));
}

// Moves what the rest of the pass reads to `device`. The copies are ordered on the devices'
// streams: this thread does not wait for them.
void MoveTo(PassState& state, at::Device device) {
  if (state.hidden.empty() || state.hidden.front().device() == device) return;
  const auto move = [device](at::Tensor& tensor) {
    tensor = tensor.to(tensor.options().device(device), /*non_blocking=*/true);
  };
  ForEachRagged(state,
                [&move](Ragged& ragged) { std::for_each(ragged.begin(), ragged.end(), move); });
  for (std::vector<KeyValues>& shared : state.shared_key_values) {
    for (KeyValues& sequence : shared) {
      move(sequence.keys);
      move(sequence.values);
    }
  }
}

std::vector<at::Device> DevicesOf(const Placement& placement) {
  std::vector<at::Device> devices = {placement.before};
  devices.insert(devices.end(), placement.layers.begin(), placement.layers.end());
  devices.push_back(placement.after);
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  return devices;
}

}  // namespace

struct TextModel::Impl {
  Impl(std::shared_ptr<const Checkpoint> checkpoint_in, TextWeights weights_in,
       at::ScalarType dtype_in, const Options& options)
      : checkpoint(std::move(checkpoint_in)),
        config(checkpoint->config()),
        catalogue(config),
        weights(std::move(weights_in)),
        parameters(config, weights.parameters),
        dtype(dtype_in),
        devices(DevicesOf(weights.placement)),
        invariant(options.invariant),
        max_logits_bytes(options.max_logits_bytes) {
    for (const LayerConfig& layer : config.layers) {
      at::Tensor& frequencies = inverse_frequencies[static_cast<size_t>(layer.type)];
      if (!frequencies.defined()) {
        frequencies = InverseFrequencies(config.rope[static_cast<int>(layer.type)], layer.d_head)
                          .to(weights.placement.before);
      }
    }
    for (const LayerWeights& layer : weights.layers)
      layer_scalars.push_back(layer.scalar.item<double>());
  }

  bool RowsMayLeave(Numerics numerics) const;
  Ragged PerLayerInputs(const Ragged& ids, const Ragged& embedded, Numerics numerics) const;
  bool WantsRotary(const Probe& probe) const;
  void VisitRotary(PassState& state, const Probe& probe) const;
  at::Tensor SoftCap(at::Tensor raw, Numerics numerics) const;
  Ragged VisitLogits(const Ragged& x, const Probe& probe) const;
  at::Tensor Logits(const at::Tensor& x, Numerics numerics) const;
  void LogitsInBlocks(const std::vector<at::Tensor>& x, const Probe& probe, LogitsSink sink) const;

  const std::shared_ptr<const Checkpoint> checkpoint;
  const Config& config;
  const Catalogue catalogue;
  const TextWeights weights;
  const Parameters parameters;
  const at::ScalarType dtype;
  const std::vector<at::Device> devices;
  const bool invariant;
  const int64_t max_logits_bytes;
  // By layer type: float32 [d_head / 2].
  std::array<at::Tensor, kNumLayerTypes> inverse_frequencies;
  std::vector<double> layer_scalars;
};

// Whether a pass may leave out rows that nothing reads. Not where the bits of a row depend on the
// number of rows: in `reference`, and in `invariant` where products are not CpuLinear's.
bool TextModel::Impl::RowsMayLeave(Numerics numerics) const {
  switch (numerics) {
    case Numerics::kFast:
      return true;
    case Numerics::kInvariant:
      return std::all_of(weights.layers.begin(), weights.layers.end(),
                         [](const LayerWeights& layer) { return HasCpuLinear(layer.q.weight); });
    case Numerics::kReference:
      break;
  }
  return false;
}

// The per-layer input of all layers: (the token's own embedding for the layer + the normalised
// projection of its main embedding) / √2.
Ragged TextModel::Impl::PerLayerInputs(const Ragged& ids, const Ragged& embedded,
                                       Numerics numerics) const {
  const double projection_scale = std::pow(static_cast<double>(config.d_model), -0.5);
  const double mix_scale = std::pow(2.0, -0.5);
  const Ragged projected = Project(embedded, weights.per_layer_projection, numerics);
  return Map(ids, projected, [&](const at::Tensor& part_ids, const at::Tensor& part) {
    const auto by_layer = [this](const at::Tensor& x) {
      return x.unflatten(-1, {config.n_layers(),
                              config.d_per_layer_input});  // [rows, n_layers, d_per_layer_input]
    };
    const at::Tensor token =
        by_layer(ScaledEmbedding(weights.per_layer_embed, weights.per_layer_embed_scale, part_ids));
    const at::Tensor context = RmsNorm(by_layer(part * projection_scale),
                                       weights.per_layer_projection_norm, config.eps, numerics);
    if (numerics == Numerics::kReference) return (context + token) * mix_scale;
    // Rounded once; in bfloat16 the line above rounds the sum and the product.
    return ((context.to(at::kFloat) + token) * mix_scale).to(part.scalar_type());
  });
}

bool TextModel::Impl::WantsRotary(const Probe& probe) const {
  return std::any_of(std::begin(kRotarySites), std::end(kRotarySites),
                     [&](const RotarySites& sites) {
                       return probe.Wants(sites.in, -1) || probe.Wants(sites.cos, -1) ||
                              probe.Wants(sites.sin, -1);
                     });
}

void TextModel::Impl::VisitRotary(PassState& state, const Probe& probe) const {
  const auto as_long = at::TensorOptions().dtype(at::kLong).device(weights.placement.before);
  std::vector<at::Tensor> each;
  for (int s = 0; s < state.layout.n_sequences(); ++s) {
    const Span& span = state.layout.span(s);
    each.push_back(at::arange(span.position, span.position + span.length, as_long));
  }
  const Ragged positions = state.layout.Join(std::move(each));
  state.has_rotary = true;
  for (const RotarySites& sites : kRotarySites) {
    if (!config.has_layer_type(sites.type)) continue;
    probe.Visit(sites.in, -1, state.hidden);
    RotaryTable& table = state.rotary[static_cast<size_t>(sites.type)];
    for (const at::Tensor& part : positions) {
      auto [cos, sin] = RotaryFactors(part, inverse_frequencies[static_cast<size_t>(sites.type)],
                                      dtype, probe.layout().numerics());
      table.cos.push_back(std::move(cos));
      table.sin.push_back(std::move(sin));
    }
    table.cos = probe.Visit(sites.cos, -1, std::move(table.cos));
    table.sin = probe.Visit(sites.sin, -1, std::move(table.sin));
  }
}

// raw [rows, d_vocab].
at::Tensor TextModel::Impl::SoftCap(at::Tensor raw, Numerics numerics) const {
  if (!config.final_logit_softcap) return raw;
  const double cap = *config.final_logit_softcap;
  // Not mul_(cap): that multiplies by the cap rounded to the logits' dtype.
  const at::Tensor factor = at::native::wrapped_scalar_tensor(cap);
  // Logits are the largest tensors of a pass: work in place where nothing else refers to them.
  const bool is_ours = raw.use_count() == 1 && raw.storage().use_count() == 1;
  at::Tensor capped = is_ours ? raw.div_(cap) : raw / cap;
  if (numerics != Numerics::kInvariant) return capped.tanh_().mul_(factor);
  // The bits of libtorch's tanh depend on the position of a number and on how many there are.
  for (int64_t row = 0; row < capped.size(0); ++row) capped.select(0, row).tanh_();
  return capped.mul_(factor);
}

// x [rows, d_model] -> [rows, d_vocab], with the hook points of the unembedding.
Ragged TextModel::Impl::VisitLogits(const Ragged& x, const Probe& probe) const {
  const Numerics numerics = probe.layout().numerics();
  Ragged logits = probe.Visit(Site::kUnembedOut, -1, Project(x, weights.unembed, numerics));
  for (at::Tensor& part : logits) part = SoftCap(std::move(part), numerics);
  return probe.Visit(Site::kLogits, -1, std::move(logits));
}

// The same without hook points.
at::Tensor TextModel::Impl::Logits(const at::Tensor& x, Numerics numerics) const {
  return SoftCap(weights.unembed(x, numerics), numerics);
}

// Short sequences share a block, so that the unembedding's weight is read once for all of them; a
// sequence with more rows than a block holds gets blocks of its own.
void TextModel::Impl::LogitsInBlocks(const std::vector<at::Tensor>& x, const Probe& probe,
                                     LogitsSink sink) const {
  const Numerics numerics = probe.layout().numerics();
  const int64_t row_bytes = config.d_vocab * static_cast<int64_t>(at::elementSize(dtype));
  const int64_t limit = std::max<int64_t>(1, max_logits_bytes / row_bytes);
  for (size_t s = 0; s < x.size();) {
    if (x[s].size(0) > limit) {
      for (int64_t row = 0; row < x[s].size(0); row += limit) {
        probe.Step();
        const int64_t count = std::min(limit, x[s].size(0) - row);
        ThrowIfError(sink(static_cast<int>(s), row, Logits(x[s].narrow(0, row, count), numerics)));
      }
      ++s;
      continue;
    }
    const size_t first = s;
    int64_t rows = 0;
    while (s < x.size() && rows + x[s].size(0) <= limit) rows += x[s++].size(0);
    if (rows == 0) continue;
    probe.Step();
    const at::Tensor together =
        s - first == 1 ? x[first] : at::cat(at::TensorList(x.data() + first, s - first), 0);
    const at::Tensor logits = Logits(together, numerics);
    int64_t row = 0;
    for (size_t i = first; i < s; ++i) {
      const int64_t count = x[i].size(0);
      if (count > 0) ThrowIfError(sink(static_cast<int>(i), 0, logits.narrow(0, row, count)));
      row += count;
    }
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
  auto weights = LoadWeights(*checkpoint, *dtype, options.devices);
  if (!weights.ok()) return weights.status();
  if (options.invariant) {
    if (absl::Status status = FindRowTiles(*weights); !status.ok()) return status;
  }
  return Guarded<absl::StatusOr<std::unique_ptr<const TextModel>>>([&] {
    auto impl = std::make_unique<Impl>(std::move(checkpoint), *std::move(weights), *dtype, options);
    return std::unique_ptr<const TextModel>(new TextModel(std::move(impl)));
  });
}

const Config& TextModel::config() const { return impl_->config; }
const Catalogue& TextModel::catalogue() const { return impl_->catalogue; }
at::ScalarType TextModel::dtype() const { return impl_->dtype; }
const std::vector<at::Device>& TextModel::devices() const { return impl_->devices; }
const std::vector<double>& TextModel::layer_scalars() const { return impl_->layer_scalars; }
const Parameters& TextModel::parameters() const { return impl_->parameters; }
int64_t TextModel::n_params() const { return impl_->weights.n_params; }
const std::vector<std::string>& TextModel::unread_tensors() const { return impl_->weights.unread; }

int64_t TextModel::TokenLimit() const {
  const Config& config = impl_->config;
  return config.has_per_layer_inputs() ? std::min(config.d_vocab, config.d_vocab_per_layer_input)
                                       : config.d_vocab;
}

absl::StatusOr<PassState> TextModel::Begin(std::vector<std::vector<int64_t>> sequences,
                                           Numerics numerics, Tap& tap) const {
  return Guarded<absl::StatusOr<PassState>>([&]() -> absl::StatusOr<PassState> {
    const Impl& model = *impl_;
    if ((numerics == Numerics::kInvariant) != model.invariant) {
      return absl::FailedPreconditionError(
          "a model that was loaded as invariant runs invariant passes, and no other");
    }
    if (model.invariant && at::GradMode::is_enabled()) {
      return absl::FailedPreconditionError("an invariant pass records no gradients");
    }
    const at::Device device = model.weights.placement.before;
    std::vector<int64_t> lengths;
    for (std::vector<int64_t>& ids : sequences) {
      lengths.push_back(static_cast<int64_t>(ids.size()));
      for (const int64_t placeholder : model.config.placeholder_token_ids) {
        std::replace(ids.begin(), ids.end(), placeholder, model.config.pad_token_id.value_or(0));
      }
    }
    PassState state;
    state.layout = Layout(lengths, numerics);
    if (model.RowsMayLeave(numerics)) {
      state.needed = NeededRows(model.config, model.catalogue, state.layout, tap);
    }
    const Probe probe(model.catalogue, state.layout, tap);

    const Ragged ids = probe.Visit(Site::kEmbedIn, -1, ToParts(state.layout, sequences, device));
    const TextWeights& weights = model.weights;
    Ragged embedded = Map(ids, [&weights](const at::Tensor& part) {
      return ScaledEmbedding(weights.embed, weights.embed_scale, part);  // [rows, d_model]
    });
    state.hidden = probe.Visit(Site::kEmbedOut, -1, std::move(embedded));
    if (model.config.has_per_layer_inputs()) {
      probe.Step();
      state.per_layer_inputs = model.PerLayerInputs(ids, state.hidden, numerics);
    }
    // Where no hook wants them, RunLayers makes them: a pass may end before its first layer.
    if (model.WantsRotary(probe)) model.VisitRotary(state, probe);
    return state;
  });
}

absl::Status TextModel::RunLayers(PassState& state, int end_layer, Tap& tap) const {
  return Guarded<absl::Status>([&] {
    const Probe probe(impl_->catalogue, state.layout, tap);
    if (state.next_layer < end_layer && !state.has_rotary) impl_->VisitRotary(state, probe);
    while (state.next_layer < end_layer) {
      const int layer = state.next_layer;
      LeaveRows(state, layer, Place::kLayer);
      MoveTo(state, impl_->weights.placement.layers[static_cast<size_t>(layer)]);
      RunDecoderLayer(impl_->config, impl_->weights.layers[static_cast<size_t>(layer)], layer,
                      state, probe);
      state.next_layer = layer + 1;
      probe.LayerDone(layer);
    }
    return absl::OkStatus();
  });
}

absl::Status TextModel::Finish(PassState& state, const std::vector<std::vector<int64_t>>& rows,
                               Tap& tap, LogitsSink sink) const {
  return Guarded<absl::Status>([&] {
    const Impl& model = *impl_;
    LeaveRows(state, model.config.n_layers(), Place::kLayer);
    MoveTo(state, model.weights.placement.after);
    const Layout& layout = state.layout;
    const Numerics numerics = layout.numerics();
    const Probe asked(model.catalogue, layout, tap);

    // A sequence keeps all its rows where a hook wants one of the sites below, or where bits depend
    // on the number of rows; else only the rows whose logits are wanted.
    std::vector<bool> narrowed;
    std::vector<at::Tensor> entering;
    std::vector<int64_t> lengths;
    std::vector<int64_t> positions;
    std::vector<std::vector<int64_t>> picks;
    bool vocabulary_wanted = false;
    for (int s = 0; s < layout.n_sequences(); ++s) {
      picks.push_back(RowsAt(rows[static_cast<size_t>(s)], layout.span(s)));
      const std::vector<int64_t>& pick = picks.back();
      const bool logits_wanted = WantsAny(asked, kVocabularySites, s);
      const bool looked_at = logits_wanted || WantsAny(asked, kFinalNormSites, s);
      vocabulary_wanted |= logits_wanted;
      narrowed.push_back(!looked_at && (numerics != Numerics::kReference || pick.empty()));
      at::Tensor x = layout.Rows(state.hidden, s);
      if (narrowed.back()) x = SelectRows(x, pick);
      lengths.push_back(x.size(0));
      // No hook point shows rows that have been picked.
      positions.push_back(narrowed.back() ? 0 : layout.span(s).position);
      entering.push_back(std::move(x));
    }
    const Layout finish(lengths, numerics, positions);
    const Probe probe(model.catalogue, finish, tap);
    Ragged x = finish.Join(std::move(entering));
    x = HookedNorm(model.config, model.weights.final_norm, Site::kLnFinalIn, -1, std::move(x),
                   probe);
    x = probe.Visit(Site::kUnembedIn, -1, std::move(x));

    const auto picked = [&](const at::Tensor& all, size_t s) {
      return narrowed[s] ? all : SelectRows(all, picks[s]);
    };
    if (vocabulary_wanted) {
      const std::vector<at::Tensor> logits = finish.Split(model.VisitLogits(x, probe));
      for (size_t s = 0; s < rows.size(); ++s) {
        if (!rows[s].empty()) ThrowIfError(sink(static_cast<int>(s), 0, picked(logits[s], s)));
      }
      return absl::OkStatus();
    }
    std::vector<at::Tensor> inputs = finish.Split(x);
    x.clear();
    if (numerics != Numerics::kReference) {
      for (size_t s = 0; s < rows.size(); ++s) inputs[s] = picked(inputs[s], s);
      model.LogitsInBlocks(inputs, probe, sink);
      return absl::OkStatus();
    }
    for (size_t s = 0; s < rows.size(); ++s) {
      if (rows[s].empty()) continue;
      probe.Step();
      ThrowIfError(sink(static_cast<int>(s), 0, picked(model.Logits(inputs[s], numerics), s)));
    }
    return absl::OkStatus();
  });
}

absl::Status TextModel::Keep(PassState& state, const std::vector<int>& sequences) {
  return Guarded<absl::Status>([&] {
    if (sequences.empty()) {
      state = {};
    } else {
      KeepSequences(state, sequences);
    }
    return absl::OkStatus();
  });
}

std::vector<at::Tensor> TextModel::Residual(const PassState& state) {
  return state.layout.Split(state.hidden);
}

}  // namespace hookwire::model
