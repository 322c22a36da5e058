#include "model/text/weights.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/adapter/components.h"
#include "model/adapter/unread_tensors.h"
#include "model/guard.h"
#include "model/nn/cpu_linear.h"

namespace hookwire::model {
namespace {

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Gets tensors by module path, and records their names. Throws PassEnded in place of returning a
// status, so that the functions below are plain lists of weights.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, at::ScalarType dtype)
      : checkpoint_(checkpoint), config_(checkpoint.config()), dtype_(dtype) {}

  // The device for the tensors that are loaded from here on.
  void To(at::Device device) { device_ = device; }

  // The parameter `leaf` of a component's module.
  at::Tensor Weight(Component component, int layer, at::IntArrayRef shape,
                    absl::string_view leaf = "weight") {
    at::Tensor tensor = Buffer(component, layer, shape, leaf);
    n_params_ += tensor.numel();
    return tensor;
  }

  // A tensor that is a buffer in Transformers: it has a parameter's name, and does not count in
  // n_params.
  at::Tensor Buffer(Component component, int layer, at::IntArrayRef shape, absl::string_view leaf) {
    at::Tensor tensor = Get(absl::StrCat(ModulePath(component, config_, layer), ".", leaf), shape);
    Name(component, layer, leaf, tensor);
    return tensor;
  }

  // Lists the tensor among the parameters.
  void Name(Component component, int layer, absl::string_view leaf, at::Tensor tensor) {
    const std::string name = ComponentName(component, layer);
    parameters_.push_back({absl::StrCat(name, name.empty() ? "" : ".", leaf), std::move(tensor)});
  }

  Linear Projection(Component component, int layer, int64_t out, int64_t in, bool bias = false) {
    Linear linear;
    linear.weight = Weight(component, layer, {out, in});
    if (bias) linear.bias = Weight(component, layer, {out}, "bias");
    return linear;
  }

  // A constant factor, 0-d, rounded to the compute dtype as the checkpoint's buffers are.
  at::Tensor Scale(double value) const {
    return at::full({}, value, at::TensorOptions().dtype(dtype_).device(device_));
  }

  int64_t n_params() const { return n_params_; }
  std::vector<Parameter> TakeParameters() { return std::move(parameters_); }
  // The checkpoint's names of all tensors that were loaded.
  const absl::flat_hash_set<std::string>& read() const { return read_; }

 private:
  at::Tensor Get(const std::string& name, at::IntArrayRef shape) {
    auto tensor = checkpoint_.Get(name);
    ThrowIfError(tensor.status());
    read_.insert(name);
    if (tensor->sizes() != shape) {
      throw PassEnded(absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.directory(), ": ", name, " has shape ",
                       ShapeText(tensor->sizes()), " where config.json says ", ShapeText(shape))));
    }
    if (!tensor->is_floating_point()) {
      throw PassEnded(absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.directory(), ": ", name,
                       " is no floating-point tensor; quantised weights are not supported")));
    }
    return tensor->to(device_, dtype_);
  }

  const Checkpoint& checkpoint_;
  const Config& config_;
  const at::ScalarType dtype_;
  at::Device device_ = at::kCPU;
  int64_t n_params_ = 0;
  std::vector<Parameter> parameters_;
  absl::flat_hash_set<std::string> read_;
};

void LoadAttention(Loader& load, const Config& config, int i, LayerWeights& weights) {
  const LayerConfig& layer = config.layers[static_cast<size_t>(i)];
  const int64_t d_model = config.d_model;
  const int64_t queries = layer.n_heads * layer.d_head;
  const int64_t keys = layer.n_key_value_heads * layer.d_head;
  weights.q = load.Projection(Component::kQ, i, queries, d_model, config.attention_bias);
  weights.q_norm = load.Weight(Component::kQNorm, i, {layer.d_head});
  weights.o = load.Projection(Component::kO, i, d_model, queries, config.attention_bias);
  if (layer.shares_key_values()) return;
  weights.k = load.Projection(Component::kK, i, keys, d_model, config.attention_bias);
  weights.k_norm = load.Weight(Component::kKNorm, i, {layer.d_head});
  if (!layer.key_is_value)
    weights.v = load.Projection(Component::kV, i, keys, d_model, config.attention_bias);
}

MixtureWeights LoadMixture(Loader& load, const Config& config, int i) {
  const int64_t d_model = config.d_model;
  MixtureWeights weights;
  weights.router.projection =
      load.Weight(Component::kRouter, i, {config.n_experts, d_model}, "proj.weight");
  weights.router.scale = load.Weight(Component::kRouter, i, {d_model}, "scale");
  weights.router.per_expert_scale =
      load.Weight(Component::kRouter, i, {config.n_experts}, "per_expert_scale");
  weights.experts.gate_up = load.Weight(
      Component::kExperts, i, {config.n_experts, 2 * config.d_expert, d_model}, "gate_up_proj");
  weights.experts.down = load.Weight(Component::kExperts, i,
                                     {config.n_experts, d_model, config.d_expert}, "down_proj");
  weights.post_norm_1 = load.Weight(Component::kPostFeedforwardNorm1, i, {d_model});
  weights.pre_norm_2 = load.Weight(Component::kPreFeedforwardNorm2, i, {d_model});
  weights.post_norm_2 = load.Weight(Component::kPostFeedforwardNorm2, i, {d_model});
  return weights;
}

LayerWeights LoadLayer(Loader& load, const Config& config, int i) {
  const int64_t d_model = config.d_model;
  const int64_t d_mlp = config.layers[static_cast<size_t>(i)].d_mlp;
  LayerWeights weights;
  weights.ln1 = load.Weight(Component::kLn1, i, {d_model});
  weights.ln1_post = load.Weight(Component::kLn1Post, i, {d_model});
  weights.ln2 = load.Weight(Component::kLn2, i, {d_model});
  weights.ln2_post = load.Weight(Component::kLn2Post, i, {d_model});
  LoadAttention(load, config, i, weights);
  weights.gate = load.Projection(Component::kMlpGate, i, d_mlp, d_model);
  weights.up = load.Projection(Component::kMlpIn, i, d_mlp, d_model);
  weights.down = load.Projection(Component::kMlpOut, i, d_model, d_mlp);
  weights.scalar = load.Buffer(Component::kBlock, i, {1}, "layer_scalar");
  if (config.has_per_layer_inputs()) {
    weights.per_layer.gate =
        load.Projection(Component::kPerLayerInputGate, i, config.d_per_layer_input, d_model);
    weights.per_layer.projection =
        load.Projection(Component::kPerLayerProjection, i, d_model, config.d_per_layer_input);
    weights.per_layer.post_norm = load.Weight(Component::kPostPerLayerInputNorm, i, {d_model});
  }
  if (config.has_experts()) weights.mixture = LoadMixture(load, config, i);
  return weights;
}

bool HasTiedUnembedding(const Checkpoint& checkpoint) {
  const Config& config = checkpoint.config();
  return config.tie_word_embeddings &&
         !checkpoint.Has(absl::StrCat(ModulePath(Component::kUnembed, config, -1), ".weight"));
}

// The `bytes` of PlacePieces.
std::vector<uint64_t> BytesOfPieces(const Checkpoint& checkpoint, at::ScalarType dtype) {
  const Config& config = checkpoint.config();
  const std::vector<std::string> names = checkpoint.names();  // sorted
  const auto bytes_under = [&](const std::string& module) {
    const std::string prefix = absl::StrCat(module, ".");
    uint64_t bytes = 0;
    for (auto name = std::lower_bound(names.begin(), names.end(), prefix);
         name != names.end() && absl::StartsWith(*name, prefix); ++name) {
      auto tensor = checkpoint.Get(*name);
      ThrowIfError(tensor.status());
      bytes += static_cast<uint64_t>(tensor->numel()) * at::elementSize(dtype);
    }
    return bytes;
  };
  const std::string embed = ModulePath(Component::kEmbed, config, -1);
  const std::string model = ModulePath(Component::kModel, config, -1);
  std::vector<uint64_t> bytes = {bytes_under(embed) +
                                 bytes_under(absl::StrCat(model, ".embed_tokens_per_layer")) +
                                 bytes_under(absl::StrCat(model, ".per_layer_model_projection"))};
  for (int i = 0; i < config.n_layers(); ++i) {
    bytes.push_back(bytes_under(ModulePath(Component::kBlock, config, i)));
  }
  bytes.push_back(bytes_under(
      HasTiedUnembedding(checkpoint) ? embed : ModulePath(Component::kUnembed, config, -1)));
  return bytes;
}

Placement Place(const Checkpoint& checkpoint, at::ScalarType dtype,
                absl::Span<const DeviceRoom> devices) {
  if (devices.size() > 1) return PlacePieces(BytesOfPieces(checkpoint, dtype), devices);
  const at::Device one = devices.front().device;
  return {.before = one,
          .layers = std::vector<at::Device>(checkpoint.config().layers.size(), one),
          .after = one};
}

// libtorch's grouped products need rows of a multiple of 16 bytes, and say so only when they run.
absl::Status CheckExpertWidths(const Config& config, at::ScalarType dtype) {
  if (!config.has_experts()) return absl::OkStatus();
  const auto element = static_cast<int64_t>(at::elementSize(dtype));
  for (const auto& [name, width] : {std::pair{"hidden_size", config.d_model},
                                    std::pair{"moe_intermediate_size", config.d_expert}}) {
    if (width * element % 16 == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: ", name, " ", width,
                     " is not supported with experts: libtorch computes them in ",
                     "rows of a multiple of ", 16 / element, " numbers of this dtype"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextWeights> LoadWeights(const Checkpoint& checkpoint, at::ScalarType dtype,
                                        absl::Span<const DeviceRoom> devices) {
  return Guarded<absl::StatusOr<TextWeights>>([&]() -> absl::StatusOr<TextWeights> {
    const Config& config = checkpoint.config();
    ThrowIfError(CheckExpertWidths(config, dtype));
    TextWeights weights;
    weights.placement = Place(checkpoint, dtype, devices);
    Loader load(checkpoint, dtype);
    load.To(weights.placement.before);
    weights.embed = load.Weight(Component::kEmbed, -1, {config.d_vocab, config.d_model});
    weights.embed_scale = load.Scale(std::sqrt(static_cast<double>(config.d_model)));
    if (config.has_per_layer_inputs()) {
      const int64_t packed = config.n_layers() * config.d_per_layer_input;
      weights.per_layer_embed =
          load.Weight(Component::kModel, -1, {config.d_vocab_per_layer_input, packed},
                      "embed_tokens_per_layer.weight");
      weights.per_layer_embed_scale =
          load.Scale(std::sqrt(static_cast<double>(config.d_per_layer_input)));
      weights.per_layer_projection.weight = load.Weight(
          Component::kModel, -1, {packed, config.d_model}, "per_layer_model_projection.weight");
      weights.per_layer_projection_norm = load.Weight(
          Component::kModel, -1, {config.d_per_layer_input}, "per_layer_projection_norm.weight");
    }
    weights.layers.reserve(config.layers.size());
    for (int i = 0; i < config.n_layers(); ++i) {
      load.To(weights.placement.layers[static_cast<size_t>(i)]);
      weights.layers.push_back(LoadLayer(load, config, i));
    }
    load.To(weights.placement.after);
    weights.final_norm = load.Weight(Component::kLnFinal, -1, {config.d_model});
    if (HasTiedUnembedding(checkpoint)) {
      weights.unembed.weight = weights.embed.to(weights.placement.after);
      load.Name(Component::kUnembed, -1, "weight", weights.unembed.weight);
    } else {
      weights.unembed = load.Projection(Component::kUnembed, -1, config.d_vocab, config.d_model);
    }
    weights.n_params = load.n_params();
    weights.unread = UnreadTensors(config, checkpoint.names(), load.read());
    weights.parameters = load.TakeParameters();
    return weights;
  });
}

absl::Status FindRowTiles(TextWeights& weights) {
  return Guarded<absl::Status>([&] {
    // On one device, products with weights of the same shape and alignment have the same tiles.
    std::map<std::tuple<std::string, int64_t, int64_t, bool, uintptr_t>, std::vector<int64_t>>
        known;
    const auto find = [&known](const at::Tensor& weight, const at::Tensor& bias) {
      const auto alignment = reinterpret_cast<uintptr_t>(weight.const_data_ptr()) % 64;
      const auto [at, is_new] = known.try_emplace(
          {weight.device().str(), weight.size(0), weight.size(1), bias.defined(), alignment});
      if (is_new) {
        auto tiles = FindRowTiles(Linear{.weight = weight, .bias = bias});
        ThrowIfError(tiles.status());
        at->second = *std::move(tiles);
      }
      return at->second;
    };
    const auto needs_tiles = [](const at::Tensor& weight) {
      return weight.defined() && !HasCpuLinear(weight);
    };
    const auto find_linear = [&](Linear& linear) {
      if (needs_tiles(linear.weight)) linear.tiles = find(linear.weight, linear.bias);
    };
    // The tiles that are right for every expert.
    const auto find_experts = [&find](const at::Tensor& weights) {
      std::vector<int64_t> tiles = find(weights.select(0, 0), {});
      for (int64_t expert = 1; expert < weights.size(0); ++expert) {
        const std::vector<int64_t> others = find(weights.select(0, expert), {});
        tiles.erase(std::remove_if(tiles.begin(), tiles.end(),
                                   [&others](int64_t tile) {
                                     return std::find(others.begin(), others.end(), tile) ==
                                            others.end();
                                   }),
                    tiles.end());
      }
      return tiles;
    };
    find_linear(weights.per_layer_projection);
    find_linear(weights.unembed);
    for (LayerWeights& layer : weights.layers) {
      for (Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up,
                             &layer.down, &layer.per_layer.gate, &layer.per_layer.projection}) {
        find_linear(*linear);
      }
      ExpertWeights& experts = layer.mixture.experts;
      if (needs_tiles(experts.gate_up)) experts.gate_up_tiles = find_experts(experts.gate_up);
      if (needs_tiles(experts.down)) experts.down_tiles = find_experts(experts.down);
    }
    return absl::OkStatus();
  });
}

}  // namespace hookwire::model
