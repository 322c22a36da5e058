#include "model/config/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace hookwire::model {
namespace {

using Json = nlohmann::json;

// Reads the keys of one JSON object. Keeps the first error, so that a caller can read everything
// and then check once.
class Reader {
 public:
  Reader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  const absl::Status& status() const { return status_; }

  // Whether the object has the key, possibly with the value null.
  bool Contains(const char* key) const { return object_.contains(key); }

  bool Has(const char* key) const {
    const auto it = object_.find(key);
    return it != object_.end() && !it->is_null();
  }

  int64_t Int(const char* key, int64_t fallback) {
    if (!Has(key)) return fallback;
    const Json& value = object_[key];
    if (value.is_number_integer()) return value.get<int64_t>();
    Fail(key, "an integer", value);
    return fallback;
  }

  int64_t PositiveInt(const char* key, int64_t fallback) {
    const int64_t value = Int(key, fallback);
    // Far larger than any real size, and small enough that the product of two does not overflow.
    if (value < 1 || value > (int64_t{1} << 30)) {
      Fail(key, "a positive integer", Json(value));
      return 1;
    }
    return value;
  }

  double Double(const char* key, double fallback) {
    if (!Has(key)) return fallback;
    const Json& value = object_[key];
    if (value.is_number()) return value.get<double>();
    Fail(key, "a number", value);
    return fallback;
  }

  bool Bool(const char* key, bool fallback) {
    if (!Has(key)) return fallback;
    const Json& value = object_[key];
    if (value.is_boolean()) return value.get<bool>();
    Fail(key, "true or false", value);
    return fallback;
  }

  std::string String(const char* key, std::string fallback) {
    if (!Has(key)) return fallback;
    const Json& value = object_[key];
    if (value.is_string()) return value.get<std::string>();
    Fail(key, "a string", value);
    return fallback;
  }

  const Json* Object(const char* key) {
    if (!Has(key)) return nullptr;
    const Json& value = object_[key];
    if (value.is_object()) return &value;
    Fail(key, "an object", value);
    return nullptr;
  }

  void Fail(absl::string_view key, absl::string_view expected, const Json& got) {
    if (!status_.ok()) return;
    std::string text = got.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > 60) text = absl::StrCat(text.substr(0, 57), "...");
    status_ = absl::InvalidArgumentError(
        absl::StrCat("config.json: ", where_, key, " must be ", expected, ", not ", text));
  }

  void Merge(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }

 private:
  const Json& object_;
  std::string where_;
  absl::Status status_;
};

absl::Status Invalid(absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("config.json: ", message));
}

// A layer's own sizes, where they differ from the model's.
struct Overrides {
  std::optional<int64_t> d_head;
  std::optional<int64_t> n_key_value_heads;
};

absl::Status ReadOverrides(const Json& object, int layer, Overrides& overrides) {
  for (const auto& [key, value] : object.items()) {
    if (key != "head_dim" && key != "num_key_value_heads") {
      return Invalid(absl::StrCat("per_layer_config.", layer, ".", key, " is not supported"));
    }
    if (!value.is_number_integer() || value.get<int64_t>() < 1 ||
        value.get<int64_t>() > (int64_t{1} << 20)) {
      return Invalid(
          absl::StrCat("per_layer_config.", layer, ".", key, " must be a positive integer"));
    }
    (key == "head_dim" ? overrides.d_head : overrides.n_key_value_heads) = value.get<int64_t>();
  }
  return absl::OkStatus();
}

absl::Status ReadLayerTypes(Reader& reader, const Json& text, int64_t n_layers,
                            std::vector<LayerType>& types) {
  types.assign(static_cast<size_t>(n_layers), LayerType::kSliding);
  if (!reader.Has("layer_types")) {
    // Every sixth layer has full attention.
    for (size_t i = 5; i < types.size(); i += 6) types[i] = LayerType::kFull;
  } else {
    const Json& names = text["layer_types"];
    if (!names.is_array() || names.size() != types.size()) {
      return Invalid(
          absl::StrCat("layer_types must be a list of ", n_layers, " names, one a layer"));
    }
    for (size_t i = 0; i < types.size(); ++i) {
      if (names[i] == "full_attention") {
        types[i] = LayerType::kFull;
      } else if (names[i] != "sliding_attention") {
        return Invalid(
            absl::StrCat("layer_types[", i, "] must be sliding_attention or full_attention"));
      }
    }
  }
  // Transformers makes the last layer one with full attention, whatever the file says.
  types.back() = LayerType::kFull;
  return absl::OkStatus();
}

absl::Status ReadRope(const Json* parameters, LayerType type, RopeConfig& rope) {
  if (type == LayerType::kFull) {
    rope = {.proportional = true, .theta = 1'000'000.0, .partial_rotary_factor = 0.25};
  }
  if (parameters == nullptr) return absl::OkStatus();
  const std::string key(LayerTypeName(type));
  const auto it = parameters->find(key);
  if (it == parameters->end() || !it->is_object()) {
    return Invalid(absl::StrCat("rope_parameters.", key, " is missing"));
  }
  Reader reader(*it, absl::StrCat("rope_parameters.", key, "."));
  const std::string kind = reader.String("rope_type", "default");
  if (kind != "default" && kind != "proportional") {
    return Invalid(absl::StrCat("rope_parameters.", key, ".rope_type ", kind,
                                " is not supported; Gemma 4 has default and proportional"));
  }
  rope.proportional = kind == "proportional";
  rope.theta = reader.Double("rope_theta", 10'000.0);
  rope.partial_rotary_factor =
      rope.proportional ? reader.Double("partial_rotary_factor", 1.0) : 1.0;
  const double factor = reader.Double("factor", 1.0);
  if (reader.status().ok() && rope.proportional && factor != 1.0) {
    return Invalid(absl::StrCat("rope_parameters.", key, ".factor ", factor, " is not supported"));
  }
  if (!(rope.theta > 0) || !(rope.partial_rotary_factor > 0) || rope.partial_rotary_factor > 1) {
    return Invalid(absl::StrCat("rope_parameters.", key,
                                " needs rope_theta > 0 and 0 < partial_rotary_factor <= 1"));
  }
  return reader.status();
}

absl::Status ReadLayers(Reader& reader, const Json& text, Config& config) {
  const int64_t n_layers = reader.PositiveInt("num_hidden_layers", 30);
  // Otherwise the checks below would blame other keys for a number that could not be read.
  if (!reader.status().ok()) return reader.status();
  if (n_layers > 4096)
    return Invalid(absl::StrCat("num_hidden_layers ", n_layers, " is more than 4096"));
  std::vector<LayerType> types;
  if (absl::Status status = ReadLayerTypes(reader, text, n_layers, types); !status.ok())
    return status;

  const bool key_is_value = reader.Bool("attention_k_eq_v", false);
  const bool double_wide = reader.Bool("use_double_wide_mlp", false);
  const int64_t n_shared = reader.Int("num_kv_shared_layers", 0);
  std::vector<Overrides> overrides(types.size());
  if (const Json* per_layer = reader.Object("per_layer_config")) {
    for (const auto& [key, value] : per_layer->items()) {
      int layer = -1;
      if (!absl::SimpleAtoi(key, &layer) || layer < 0 || layer >= n_layers || !value.is_object()) {
        return Invalid(absl::StrCat("per_layer_config.", key, " names no layer of ", n_layers));
      }
      if (absl::Status status = ReadOverrides(value, layer, overrides[static_cast<size_t>(layer)]);
          !status.ok()) {
        return status;
      }
    }
  } else if (!reader.Contains("per_layer_config")) {
    // The published form: one head width, and on K==V models one number of key-value heads, for all
    // full layers.
    const int64_t d_head = reader.PositiveInt("global_head_dim", 512);
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] != LayerType::kFull) continue;
      overrides[i].d_head = d_head;
      if (key_is_value && reader.Has("num_global_key_value_heads")) {
        overrides[i].n_key_value_heads = reader.PositiveInt("num_global_key_value_heads", 1);
      }
    }
  }

  if (!reader.status().ok()) return reader.status();
  if (n_shared < 0 || n_shared >= n_layers) {
    return Invalid(absl::StrCat("num_kv_shared_layers ", n_shared,
                                " must be less than num_hidden_layers ", n_layers));
  }
  config.n_key_value_shared_layers = static_cast<int>(n_shared);
  const int first_shared = static_cast<int>(n_layers - n_shared);

  std::optional<int>
      source[kNumLayerTypes];  // the last layer of each type that has its own keys and values
  for (int i = 0; i < n_layers; ++i) {
    LayerConfig layer;
    layer.type = types[static_cast<size_t>(i)];
    layer.n_heads = config.n_heads;
    layer.d_head = overrides[static_cast<size_t>(i)].d_head.value_or(config.d_head);
    layer.n_key_value_heads =
        overrides[static_cast<size_t>(i)].n_key_value_heads.value_or(config.n_key_value_heads);
    layer.d_mlp = config.d_mlp;
    std::optional<int>& last = source[static_cast<int>(layer.type)];
    if (i < first_shared) {
      last = i;
      layer.key_is_value = key_is_value && layer.type == LayerType::kFull;
    } else {
      if (!last) {
        return Invalid(absl::StrCat("layer ", i, " reuses keys and values, but no ",
                                    LayerTypeName(layer.type), " layer before the last ", n_shared,
                                    " has any"));
      }
      layer.key_value_source = last;
      if (double_wide) layer.d_mlp *= 2;
      const LayerConfig& from = config.layers[static_cast<size_t>(*last)];
      if (from.d_head != layer.d_head || from.n_key_value_heads != layer.n_key_value_heads) {
        return Invalid(absl::StrCat("layer ", i, " reuses the keys of layer ", *last,
                                    " but has other head sizes"));
      }
    }
    if (layer.n_heads % layer.n_key_value_heads != 0) {
      return Invalid(absl::StrCat("num_attention_heads ", layer.n_heads, " is no multiple of the ",
                                  layer.n_key_value_heads, " key-value heads of layer ", i));
    }
    if (layer.d_head % 2 != 0) {
      return Invalid(absl::StrCat("head_dim ", layer.d_head, " of layer ", i,
                                  " is odd; rotary embedding needs pairs"));
    }
    for (const LayerConfig& other : config.layers) {
      if (other.type == layer.type && other.d_head != layer.d_head) {
        return Invalid(absl::StrCat("layer ", i, " has another head_dim than an earlier ",
                                    LayerTypeName(layer.type),
                                    " layer; rotary frequencies are one set a layer type"));
      }
    }
    config.layers.push_back(layer);
  }
  return absl::OkStatus();
}

void ReadExperts(Reader& reader, Config& config) {
  if (!reader.Bool("enable_moe_block", false)) return;
  config.n_experts = reader.PositiveInt("num_experts", 0);
  config.n_experts_per_token = reader.PositiveInt("top_k_experts", 0);
  config.d_expert = reader.PositiveInt("moe_intermediate_size", 0);
  if (reader.status().ok() && config.n_experts_per_token > config.n_experts) {
    reader.Merge(Invalid(absl::StrCat("top_k_experts ", config.n_experts_per_token,
                                      " is more than num_experts ", config.n_experts)));
  }
}

void ReadTokens(Reader& root, Reader& text, const Json& text_json, bool multimodal,
                Config& config) {
  // null means none; if the key is missing, Transformers' default applies.
  if (text.Has("bos_token_id") || !text.Contains("bos_token_id"))
    config.bos_token_id = text.Int("bos_token_id", 2);
  if (text.Has("pad_token_id") || !text.Contains("pad_token_id"))
    config.pad_token_id = text.Int("pad_token_id", 0);
  if (!text.Contains("eos_token_id")) {
    config.eos_token_ids.push_back(1);
  } else if (text.Has("eos_token_id")) {
    const Json& eos = text_json["eos_token_id"];
    for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
      if (id.is_number_integer()) {
        config.eos_token_ids.push_back(id.get<int64_t>());
      } else {
        text.Fail("eos_token_id", "an integer or a list of integers", eos);
      }
    }
  }
  if (!multimodal) return;
  const std::pair<const char*, int64_t> placeholders[] = {
      {"image_token_id", 258'880}, {"video_token_id", 258'884}, {"audio_token_id", 258'881}};
  for (const auto& [key, fallback] : placeholders)
    config.placeholder_token_ids.push_back(root.Int(key, fallback));
}

}  // namespace

absl::string_view LayerTypeName(LayerType type) {
  return type == LayerType::kSliding ? "sliding_attention" : "full_attention";
}

absl::string_view VariantName(Variant variant) {
  switch (variant) {
    case Variant::kEType:
      return "E";
    case Variant::kDense:
      return "dense";
    case Variant::kMoe:
      return "moe";
    case Variant::kUnified:
      return "unified";
  }
  return "";
}

bool Config::has_layer_type(LayerType type) const {
  return std::any_of(layers.begin(), layers.end(),
                     [type](const LayerConfig& layer) { return layer.type == type; });
}

absl::StatusOr<Config> ParseConfig(absl::string_view json) {
  const Json root_json = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (root_json.is_discarded()) return Invalid("is not valid JSON: it may be cut short");
  if (!root_json.is_object()) return Invalid("is not a JSON object");
  Reader root(root_json, "");

  const std::string model_type = root.String("model_type", "");
  const bool multimodal = model_type == "gemma4" || model_type == "gemma4_unified";
  const bool text_only = model_type == "gemma4_text" || model_type == "gemma4_unified_text";
  if (!multimodal && !text_only) {
    return Invalid(absl::StrCat(
        "model_type is ", root.Has("model_type") ? absl::StrCat("\"", model_type, "\"") : "missing",
        "; this server runs gemma4 and gemma4_unified"));
  }
  const bool unified = model_type == "gemma4_unified" || model_type == "gemma4_unified_text";
  const Json* text_json = multimodal ? root.Object("text_config") : &root_json;
  if (text_json == nullptr) {
    return root.status().ok() ? Invalid("text_config is missing") : root.status();
  }
  Reader text(*text_json, multimodal ? "text_config." : "");

  Config config;
  if (text_only) config.module_prefix = "model";
  if (root.Has("architectures") && root_json["architectures"].is_array() &&
      !root_json["architectures"].empty() && root_json["architectures"][0].is_string()) {
    config.architecture = root_json["architectures"][0].get<std::string>();
  }
  config.dtype = root.String("dtype", root.String("torch_dtype", text.String("dtype", "")));
  config.d_model = text.PositiveInt("hidden_size", 2304);
  config.n_heads = text.PositiveInt("num_attention_heads", 8);
  config.n_key_value_heads = text.PositiveInt("num_key_value_heads", 4);
  config.d_head = text.PositiveInt("head_dim", 256);
  config.d_mlp = text.PositiveInt("intermediate_size", 9216);
  config.d_vocab = text.PositiveInt("vocab_size", 262'144);
  config.n_ctx = text.PositiveInt("max_position_embeddings", unified ? 262'144 : 131'072);
  config.eps = text.Double("rms_norm_eps", 1e-6);
  if (!(config.eps >= 0)) text.Fail("rms_norm_eps", "no negative number", config.eps);
  if (root.Has("quantization_config") || text.Has("quantization_config")) {
    return Invalid("quantization_config: quantized checkpoints are not supported");
  }
  config.sliding_window = text.PositiveInt("sliding_window", unified ? 1024 : 512);
  config.attention_bias = text.Bool("attention_bias", false);
  config.tie_word_embeddings = root.Bool("tie_word_embeddings", true);
  config.act_fn = text.String("hidden_activation", "gelu_pytorch_tanh");
  if (config.act_fn != "gelu_pytorch_tanh") {
    return Invalid(absl::StrCat("hidden_activation ", config.act_fn,
                                " is not supported; Gemma 4 has gelu_pytorch_tanh"));
  }
  if (text.Has("final_logit_softcapping")) {
    config.final_logit_softcap = text.Double("final_logit_softcapping", 0);
    if (!(*config.final_logit_softcap > 0))
      text.Fail("final_logit_softcapping", "a positive number",
                (*text_json)["final_logit_softcapping"]);
  }
  if (text.String("use_bidirectional_attention", "") == "all") {
    return Invalid("use_bidirectional_attention \"all\" (an encoder) is not supported");
  }
  if (!unified) {
    // 0 means that there are none.
    config.d_per_layer_input = text.Int("hidden_size_per_layer_input", 256);
    if (config.d_per_layer_input != 0) {
      config.d_per_layer_input = text.PositiveInt("hidden_size_per_layer_input", 256);
    }
    if (config.has_per_layer_inputs()) {
      config.d_vocab_per_layer_input = text.PositiveInt("vocab_size_per_layer_input", 262'144);
    }
    ReadExperts(text, config);
  }
  if (!text.status().ok()) return text.status();
  if (absl::Status status = ReadLayers(text, *text_json, config); !status.ok()) return status;

  const Json* rope = text.Object("rope_parameters");
  for (const LayerType type : {LayerType::kSliding, LayerType::kFull}) {
    if (!config.has_layer_type(type)) continue;
    if (absl::Status status = ReadRope(rope, type, config.rope[static_cast<int>(type)]);
        !status.ok())
      return status;
  }
  ReadTokens(root, text, *text_json, multimodal, config);
  if (!root.status().ok()) return root.status();
  if (!text.status().ok()) return text.status();

  config.variant = unified                         ? Variant::kUnified
                   : config.has_experts()          ? Variant::kMoe
                   : config.has_per_layer_inputs() ? Variant::kEType
                                                   : Variant::kDense;
  return config;
}

}  // namespace hookwire::model
