// What a checkpoint's config.json says, in the terms of the forward pass.
//
// In: the text of config.json, in the form that `save_pretrained` writes (`per_layer_config`) or in
// the published form (`global_head_dim`, `num_global_key_value_heads`). Out: a checked Config.
// Depends on nothing else in model/.
#ifndef HOOKWIRE_MODEL_CONFIG_CONFIG_H_
#define HOOKWIRE_MODEL_CONFIG_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hookwire::model {

enum class LayerType { kSliding = 0, kFull = 1 };
inline constexpr int kNumLayerTypes = 2;

// "sliding_attention" or "full_attention".
absl::string_view LayerTypeName(LayerType type);

enum class Variant {
  kEType,    // per-layer embeddings (E2B, E4B)
  kDense,    // 31B
  kMoe,      // 26B-A4B
  kUnified,  // 12B
};

// "E", "dense", "moe" or "unified".
absl::string_view VariantName(Variant variant);

struct RopeConfig {
  bool proportional = false;
  double theta = 10'000.0;
  // Share of d_head that rotates; 1 for the default type.
  double partial_rotary_factor = 1.0;
};

struct LayerConfig {
  LayerType type = LayerType::kSliding;
  int64_t n_heads = 0;
  int64_t n_key_value_heads = 0;
  int64_t d_head = 0;
  int64_t d_mlp = 0;
  // The layer whose keys and values this one reuses.
  std::optional<int> key_value_source;
  // Values are the key projection's output; the layer has no v.
  bool key_is_value = false;

  bool shares_key_values() const { return key_value_source.has_value(); }
};

struct Config {
  std::string architecture;
  Variant variant = Variant::kDense;
  // The prefix of the text model's modules: "model.language_model", or "model" in a text-only
  // checkpoint.
  std::string module_prefix = "model.language_model";
  // The checkpoint's dtype as config.json gives it ("float32", "bfloat16"); empty if it gives none.
  std::string dtype;

  int64_t d_model = 0;
  int64_t n_heads = 0;
  // In the sliding layers.
  int64_t n_key_value_heads = 0;
  int64_t d_head = 0;
  // In the layers that are not double wide.
  int64_t d_mlp = 0;
  int64_t d_vocab = 0;
  int64_t n_ctx = 0;
  double eps = 1e-6;
  std::string act_fn;
  int64_t sliding_window = 0;
  std::optional<double> final_logit_softcap;
  bool attention_bias = false;
  bool tie_word_embeddings = true;

  // Sizes of the per-layer embeddings; 0 if the model has none.
  int64_t d_per_layer_input = 0;
  int64_t d_vocab_per_layer_input = 0;
  int n_key_value_shared_layers = 0;

  // Sizes of the experts; 0 if the model has none.
  int64_t n_experts = 0;
  int64_t n_experts_per_token = 0;
  int64_t d_expert = 0;

  // Indexed by LayerType.
  RopeConfig rope[kNumLayerTypes];
  std::vector<LayerConfig> layers;

  std::optional<int64_t> bos_token_id;
  std::optional<int64_t> pad_token_id;
  std::vector<int64_t> eos_token_ids;
  // Placeholders of images, videos and audio. The text path reads the pad token in their place, as
  // Transformers does.
  std::vector<int64_t> placeholder_token_ids;

  int n_layers() const { return static_cast<int>(layers.size()); }
  bool has_per_layer_inputs() const { return d_per_layer_input > 0; }
  bool has_experts() const { return n_experts > 0; }
  bool has_layer_type(LayerType type) const;
};

// InvalidArgument if the text is not JSON, not the config of a Gemma 4, needs something that the
// text path does not support, or contradicts itself. The message names the key.
absl::StatusOr<Config> ParseConfig(absl::string_view json);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CONFIG_CONFIG_H_
