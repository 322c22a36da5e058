#include "tests/unit/support/tiny_checkpoint.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace hookwire::testing {
namespace {

using nlohmann::json;

int NumLayers(const TinyOptions& options) { return static_cast<int>(options.layers.size()); }
bool IsFull(const TinyOptions& options, int layer) {
  return options.layers[static_cast<size_t>(layer)] == 'f';
}
bool IsEType(const TinyOptions& options) { return options.variant == TinyVariant::kEType; }
bool KeyIsValue(const TinyOptions& options, int layer) {
  return !IsEType(options) && IsFull(options, layer);
}
bool SharesKeyValues(const TinyOptions& options, int layer) {
  return IsEType(options) && layer >= NumLayers(options) - options.n_key_value_shared_layers;
}
int64_t HeadWidth(const TinyOptions& options, int layer) {
  return IsFull(options, layer) ? options.d_head_full : options.d_head;
}
int64_t KeyValueHeads(const TinyOptions& options, int layer) {
  return KeyIsValue(options, layer) ? options.n_global_key_value_heads : options.n_key_value_heads;
}

void AddLayer(const TinyOptions& options, int layer, std::vector<TinyWeight>& weights) {
  const std::string prefix = "model.language_model.layers." + std::to_string(layer) + ".";
  const int64_t d_model = options.d_model;
  const int64_t d_head = HeadWidth(options, layer);
  const int64_t queries = options.n_heads * d_head;
  const int64_t keys = KeyValueHeads(options, layer) * d_head;
  const int64_t d_mlp = options.d_mlp * (SharesKeyValues(options, layer) ? 2 : 1);
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    weights.push_back({prefix + name, std::move(shape)});
  };
  add("layer_scalar", {1});
  for (const char* norm : {"input_layernorm", "post_attention_layernorm",
                           "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
    add(std::string(norm) + ".weight", {d_model});
  }
  add("self_attn.q_proj.weight", {queries, d_model});
  add("self_attn.q_norm.weight", {d_head});
  add("self_attn.o_proj.weight", {d_model, queries});
  if (!SharesKeyValues(options, layer)) {
    add("self_attn.k_proj.weight", {keys, d_model});
    add("self_attn.k_norm.weight", {d_head});
    if (!KeyIsValue(options, layer)) add("self_attn.v_proj.weight", {keys, d_model});
  }
  add("mlp.gate_proj.weight", {d_mlp, d_model});
  add("mlp.up_proj.weight", {d_mlp, d_model});
  add("mlp.down_proj.weight", {d_model, d_mlp});
  if (IsEType(options)) {
    add("per_layer_input_gate.weight", {options.d_per_layer_input, d_model});
    add("per_layer_projection.weight", {d_model, options.d_per_layer_input});
    add("post_per_layer_input_norm.weight", {d_model});
  }
  if (options.variant == TinyVariant::kMoe) {
    for (const char* norm : {"post_feedforward_layernorm_1", "post_feedforward_layernorm_2",
                             "pre_feedforward_layernorm_2"}) {
      add(std::string(norm) + ".weight", {d_model});
    }
    add("router.proj.weight", {options.n_experts, d_model});
    add("router.scale", {d_model});
    add("router.per_expert_scale", {options.n_experts});
    add("experts.gate_up_proj", {options.n_experts, 2 * options.d_expert, d_model});
    add("experts.down_proj", {options.n_experts, d_model, options.d_expert});
  }
}

int64_t NumElements(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

// Norm weights and scales are around 1; matrices are scaled so that outputs are about as large as
// inputs.
std::vector<float> RandomWeight(const TinyWeight& weight, std::mt19937& random) {
  std::vector<float> numbers(static_cast<size_t>(NumElements(weight.shape)));
  const bool multiplies = weight.shape.size() == 1;
  const double width = multiplies ? 0.2 : 1.0 / std::sqrt(static_cast<double>(weight.shape.back()));
  std::normal_distribution<double> normal(multiplies ? 1.0 : 0.0, width);
  for (float& number : numbers) number = static_cast<float>(normal(random));
  return numbers;
}

// Little-endian, in `dtype`; bfloat16 by rounding to nearest even.
std::string Encode(const std::vector<float>& numbers, const std::string& dtype) {
  if (dtype == "float32") {
    return std::string(reinterpret_cast<const char*>(numbers.data()),
                       numbers.size() * sizeof(float));
  }
  std::string bytes;
  for (const float number : numbers) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    bits += 0x7FFF + ((bits >> 16) & 1);
    bytes.push_back(static_cast<char>(bits >> 16));
    bytes.push_back(static_cast<char>(bits >> 24));
  }
  return bytes;
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

using NamedBytes = std::pair<TinyWeight, std::string>;

void WriteSafetensors(const std::string& path, const std::vector<NamedBytes>& weights,
                      const std::string& dtype) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  size_t offset = 0;
  for (const auto& [weight, bytes] : weights) {
    header[weight.name] = {{"dtype", dtype == "float32" ? "F32" : "BF16"},
                           {"shape", weight.shape},
                           {"data_offsets", {offset, offset + bytes.size()}}};
    offset += bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  const uint64_t length = text.size();
  std::memcpy(file.data(), &length, sizeof length);
  file += text;
  for (const auto& [weight, bytes] : weights) file += bytes;
  WriteFile(path, file);
}

void WriteWeights(const TinyOptions& options, const std::string& directory) {
  std::mt19937 random(options.seed);
  std::vector<std::vector<NamedBytes>> shards(static_cast<size_t>(options.shards));
  size_t next = 0;
  for (const TinyWeight& weight : TinyWeights(options)) {
    shards[next++ % shards.size()].emplace_back(
        weight, Encode(RandomWeight(weight, random), options.dtype));
  }
  if (shards.size() == 1) {
    WriteSafetensors(directory + "/model.safetensors", shards[0], options.dtype);
    return;
  }
  json index = {{"metadata", json::object()}, {"weight_map", json::object()}};
  for (size_t i = 0; i < shards.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    WriteSafetensors(directory + "/" + name, shards[i], options.dtype);
    for (const auto& [weight, bytes] : shards[i]) index["weight_map"][weight.name] = name;
  }
  WriteFile(directory + "/model.safetensors.index.json", index.dump(2));
}

}  // namespace

std::vector<TinyWeight> TinyWeights(const TinyOptions& options) {
  const std::string prefix = "model.language_model.";
  std::vector<TinyWeight> weights;
  weights.push_back({prefix + "embed_tokens.weight", {options.d_vocab, options.d_model}});
  if (IsEType(options)) {
    const int64_t width = NumLayers(options) * options.d_per_layer_input;
    weights.push_back(
        {prefix + "embed_tokens_per_layer.weight", {options.d_vocab_per_layer_input, width}});
    weights.push_back({prefix + "per_layer_model_projection.weight", {width, options.d_model}});
    weights.push_back({prefix + "per_layer_projection_norm.weight", {options.d_per_layer_input}});
  }
  for (int layer = 0; layer < NumLayers(options); ++layer) AddLayer(options, layer, weights);
  weights.push_back({prefix + "norm.weight", {options.d_model}});
  if (!options.tie_word_embeddings) {
    weights.push_back({"lm_head.weight", {options.d_vocab, options.d_model}});
  }
  return weights;
}

std::string TinyConfigJson(const TinyOptions& options) {
  const bool unified = options.variant == TinyVariant::kUnified;
  const bool moe = options.variant == TinyVariant::kMoe;
  const bool e_type = IsEType(options);
  json layer_types = json::array();
  json per_layer = json::object();
  for (int layer = 0; layer < NumLayers(options); ++layer) {
    layer_types.push_back(IsFull(options, layer) ? "full_attention" : "sliding_attention");
    if (!IsFull(options, layer)) continue;
    json& own = per_layer[std::to_string(layer)];
    own["head_dim"] = options.d_head_full;
    if (!e_type) own["num_key_value_heads"] = options.n_global_key_value_heads;
  }
  json text = {
      {"attention_bias", false},
      {"attention_k_eq_v", !e_type},
      {"bos_token_id", 2},
      {"eos_token_id", 1},
      {"pad_token_id", 0},
      {"final_logit_softcapping", nullptr},
      {"head_dim", options.d_head},
      {"hidden_activation", "gelu_pytorch_tanh"},
      {"hidden_size", options.d_model},
      {"intermediate_size", options.d_mlp},
      {"layer_types", layer_types},
      {"max_position_embeddings", options.n_ctx},
      {"model_type", unified ? "gemma4_unified_text" : "gemma4_text"},
      {"num_attention_heads", options.n_heads},
      {"num_hidden_layers", NumLayers(options)},
      {"num_key_value_heads", options.n_key_value_heads},
      {"num_kv_shared_layers", e_type ? options.n_key_value_shared_layers : 0},
      {"rms_norm_eps", 1e-6},
      {"rope_parameters",
       {{"full_attention",
         {{"partial_rotary_factor", 0.25}, {"rope_theta", 1e6}, {"rope_type", "proportional"}}},
        {"sliding_attention", {{"rope_theta", 1e4}, {"rope_type", "default"}}}}},
      {"sliding_window", options.sliding_window},
      {"tie_word_embeddings", options.tie_word_embeddings},
      {"use_double_wide_mlp", e_type},
      {"vocab_size", options.d_vocab},
  };
  if (options.final_logit_softcap != 0) {
    text["final_logit_softcapping"] = options.final_logit_softcap;
  }
  if (options.published_config) {
    text["global_head_dim"] = options.d_head_full;
    text["num_global_key_value_heads"] =
        e_type ? json(nullptr) : json(options.n_global_key_value_heads);
  } else {
    text["per_layer_config"] = per_layer;
  }
  if (!unified) {
    text["use_bidirectional_attention"] = nullptr;
    text["hidden_size_per_layer_input"] = e_type ? options.d_per_layer_input : 0;
    text["vocab_size_per_layer_input"] = options.d_vocab_per_layer_input;
    text["enable_moe_block"] = moe;
    text["num_experts"] = moe ? json(options.n_experts) : json(nullptr);
    text["top_k_experts"] = moe ? json(options.n_experts_per_token) : json(nullptr);
    text["moe_intermediate_size"] = moe ? json(options.d_expert) : json(nullptr);
  } else {
    text["use_bidirectional_attention"] = "vision";
  }
  const json config = {
      {"architectures",
       {unified ? "Gemma4UnifiedForConditionalGeneration" : "Gemma4ForConditionalGeneration"}},
      {"audio_config", nullptr},
      {"vision_config", nullptr},
      {"dtype", options.dtype},
      {"image_token_id", 258880},
      {"video_token_id", 258884},
      {"audio_token_id", 258881},
      {"model_type", unified ? "gemma4_unified" : "gemma4"},
      {"tie_word_embeddings", options.tie_word_embeddings},
      {"text_config", text},
  };
  return config.dump(2);
}

TinyCheckpoint::TinyCheckpoint(const TinyOptions& options) {
  WriteFile(directory() + "/config.json", TinyConfigJson(options));
  WriteWeights(options, directory());
}

}  // namespace hookwire::testing
