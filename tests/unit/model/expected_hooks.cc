#include "tests/unit/model/expected_hooks.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace hookwire::testing {
namespace {

using model::Config;
using model::HookDtype;
using model::LayerConfig;
using model::LayerType;

// On which layers or models a row holds.
enum class On { kAll, kOwnKeyValues, kOwnValues, kPerLayerEmbeddings, kExperts, kSliding };

struct Line {
  const char* name;     // under "blocks.<i>." for rows of a layer
  const char* axes;     // letters of the specification: p D, p H dh, …
  const char* aliases;  // under "blocks.<i>." for rows of a layer
  const char* module;   // under "model.language_model.layers.<i>" for rows of a layer
  On on = On::kAll;
  HookDtype dtype = HookDtype::kCompute;
  bool writable = true;
};

constexpr Line kOutside[] = {
    {"embed.hook_in", "p", "", "embed_tokens", On::kAll, HookDtype::kInt64, false},
    {"embed.hook_out", "p D", "hook_embed", "embed_tokens"},
    {"rotary_emb.sliding_attention.hook_in", "p D", "", "rotary_emb", On::kSliding,
     HookDtype::kCompute, false},
    {"rotary_emb.sliding_attention.hook_cos", "p ds", "", "rotary_emb", On::kSliding},
    {"rotary_emb.sliding_attention.hook_sin", "p ds", "", "rotary_emb", On::kSliding},
    {"rotary_emb.full_attention.hook_in", "p D", "", "rotary_emb", On::kAll, HookDtype::kCompute,
     false},
    {"rotary_emb.full_attention.hook_cos", "p df", "", "rotary_emb"},
    {"rotary_emb.full_attention.hook_sin", "p df", "", "rotary_emb"},
    {"ln_final.hook_in", "p D", "", "norm"},
    {"ln_final.hook_scale", "p 1", "", "norm"},
    {"ln_final.hook_normalized", "p D", "", "norm"},
    {"ln_final.hook_out", "p D", "", "norm"},
    {"unembed.hook_in", "p D", "", "/lm_head"},
    {"unembed.hook_out", "p V", "hook_unembed", "/lm_head"},
    {"hook_logits", "p V", "", ""},
};

constexpr Line kInBlock[] = {
    {"hook_in", "p D", "hook_resid_pre", ""},
    {"hook_resid_mid", "p D", "", ""},
    {"hook_out", "p D", "hook_resid_post", ""},
    {"hook_per_layer_input", "p P", "", "", On::kPerLayerEmbeddings},
    {"ln1.hook_in", "p D", "attn.hook_attn_in hook_attn_in", ".input_layernorm"},
    {"ln1.hook_scale", "p 1", "", ".input_layernorm"},
    {"ln1.hook_normalized", "p D", "", ".input_layernorm"},
    {"ln1.hook_out", "p D", "", ".input_layernorm"},
    {"ln1_post.hook_in", "p D", "", ".post_attention_layernorm"},
    {"ln1_post.hook_scale", "p 1", "", ".post_attention_layernorm"},
    {"ln1_post.hook_normalized", "p D", "", ".post_attention_layernorm"},
    {"ln1_post.hook_out", "p D", "hook_attn_out", ".post_attention_layernorm"},
    {"ln2.hook_in", "p D", "hook_mlp_in", ".pre_feedforward_layernorm"},
    {"ln2.hook_scale", "p 1", "", ".pre_feedforward_layernorm"},
    {"ln2.hook_normalized", "p D", "", ".pre_feedforward_layernorm"},
    {"ln2.hook_out", "p D", "", ".pre_feedforward_layernorm"},
    {"ln2_post.hook_in", "p D", "", ".post_feedforward_layernorm"},
    {"ln2_post.hook_scale", "p 1", "", ".post_feedforward_layernorm"},
    {"ln2_post.hook_normalized", "p D", "", ".post_feedforward_layernorm"},
    {"ln2_post.hook_out", "p D", "hook_mlp_out", ".post_feedforward_layernorm"},
    {"attn.hook_in", "p D", "", ".self_attn"},
    {"attn.hook_out", "p D", "", ".self_attn"},
    {"attn.hook_q_input", "p H D", "hook_q_input", ".self_attn"},
    {"attn.hook_k_input", "p K D", "hook_k_input", ".self_attn", On::kOwnKeyValues},
    {"attn.hook_v_input", "p K D", "hook_v_input", ".self_attn", On::kOwnValues},
    {"attn.hook_rot_q", "p H dh", "", ".self_attn"},
    {"attn.hook_rot_k", "p K dh", "", ".self_attn"},
    {"attn.hook_rot_v", "p K dh", "", ".self_attn"},
    {"attn.hook_attn_scores", "H p t", "", ".self_attn"},
    {"attn.hook_pattern", "H p t", "", ".self_attn"},
    {"attn.hook_result", "p H D", "", ".self_attn"},
    {"attn.q.hook_in", "p D", "", ".self_attn.q_proj"},
    {"attn.q.hook_out", "p H dh", "attn.hook_q", ".self_attn.q_proj"},
    {"attn.k.hook_in", "p D", "", ".self_attn.k_proj", On::kOwnKeyValues},
    {"attn.k.hook_out", "p K dh", "attn.hook_k", ".self_attn.k_proj", On::kOwnKeyValues},
    {"attn.v.hook_in", "p D", "", ".self_attn.v_proj", On::kOwnValues},
    {"attn.v.hook_out", "p K dh", "attn.hook_v", ".self_attn.v_proj", On::kOwnValues},
    {"attn.o.hook_in", "p H dh", "attn.hook_z", ".self_attn.o_proj"},
    {"attn.o.hook_out", "p D", "", ".self_attn.o_proj"},
    {"attn.q_norm.hook_in", "p H dh", "", ".self_attn.q_norm"},
    {"attn.q_norm.hook_scale", "p H 1", "", ".self_attn.q_norm"},
    {"attn.q_norm.hook_normalized", "p H dh", "", ".self_attn.q_norm"},
    {"attn.q_norm.hook_out", "p H dh", "", ".self_attn.q_norm"},
    {"attn.k_norm.hook_in", "p K dh", "", ".self_attn.k_norm", On::kOwnKeyValues},
    {"attn.k_norm.hook_scale", "p K 1", "", ".self_attn.k_norm", On::kOwnKeyValues},
    {"attn.k_norm.hook_normalized", "p K dh", "", ".self_attn.k_norm", On::kOwnKeyValues},
    {"attn.k_norm.hook_out", "p K dh", "", ".self_attn.k_norm", On::kOwnKeyValues},
    {"attn.v_norm.hook_in", "p K dh", "", ".self_attn.v_norm", On::kOwnKeyValues},
    {"attn.v_norm.hook_scale", "p K 1", "", ".self_attn.v_norm", On::kOwnKeyValues},
    {"attn.v_norm.hook_normalized", "p K dh", "", ".self_attn.v_norm", On::kOwnKeyValues},
    {"attn.v_norm.hook_out", "p K dh", "", ".self_attn.v_norm", On::kOwnKeyValues},
    {"mlp.hook_in", "p D", "", ".mlp"},
    {"mlp.hook_out", "p D", "", ".mlp"},
    {"mlp.gate.hook_in", "p D", "", ".mlp.gate_proj"},
    {"mlp.gate.hook_out", "p F", "mlp.hook_pre", ".mlp.gate_proj"},
    {"mlp.in.hook_in", "p D", "", ".mlp.up_proj"},
    {"mlp.in.hook_out", "p F", "mlp.hook_pre_linear", ".mlp.up_proj"},
    {"mlp.out.hook_in", "p F", "mlp.hook_post", ".mlp.down_proj"},
    {"mlp.out.hook_out", "p D", "", ".mlp.down_proj"},
    {"per_layer_input_gate.hook_in", "p D", "", ".per_layer_input_gate", On::kPerLayerEmbeddings},
    {"per_layer_input_gate.hook_out", "p P", "", ".per_layer_input_gate", On::kPerLayerEmbeddings},
    {"per_layer_projection.hook_in", "p P", "", ".per_layer_projection", On::kPerLayerEmbeddings},
    {"per_layer_projection.hook_out", "p D", "", ".per_layer_projection", On::kPerLayerEmbeddings},
    {"post_per_layer_input_norm.hook_in", "p D", "", ".post_per_layer_input_norm",
     On::kPerLayerEmbeddings},
    {"post_per_layer_input_norm.hook_scale", "p 1", "", ".post_per_layer_input_norm",
     On::kPerLayerEmbeddings},
    {"post_per_layer_input_norm.hook_normalized", "p D", "", ".post_per_layer_input_norm",
     On::kPerLayerEmbeddings},
    {"post_per_layer_input_norm.hook_out", "p D", "hook_ple_out", ".post_per_layer_input_norm",
     On::kPerLayerEmbeddings},
    {"router.hook_in", "p D", "", ".router", On::kExperts},
    {"router.hook_scores", "p E", "", ".router", On::kExperts},
    {"router.hook_out", "p E", "", ".router", On::kExperts, HookDtype::kFloat32},
    {"router.hook_weights", "p k", "", ".router", On::kExperts, HookDtype::kFloat32},
    {"router.hook_indices", "p k", "", ".router", On::kExperts, HookDtype::kInt64, false},
    {"experts.hook_in", "p D", "", ".experts", On::kExperts},
    {"experts.hook_out", "p D", "", ".experts", On::kExperts},
    {"post_feedforward_layernorm_1.hook_in", "p D", "", ".post_feedforward_layernorm_1",
     On::kExperts},
    {"post_feedforward_layernorm_1.hook_scale", "p 1", "", ".post_feedforward_layernorm_1",
     On::kExperts},
    {"post_feedforward_layernorm_1.hook_normalized", "p D", "", ".post_feedforward_layernorm_1",
     On::kExperts},
    {"post_feedforward_layernorm_1.hook_out", "p D", "", ".post_feedforward_layernorm_1",
     On::kExperts},
    {"post_feedforward_layernorm_2.hook_in", "p D", "", ".post_feedforward_layernorm_2",
     On::kExperts},
    {"post_feedforward_layernorm_2.hook_scale", "p 1", "", ".post_feedforward_layernorm_2",
     On::kExperts},
    {"post_feedforward_layernorm_2.hook_normalized", "p D", "", ".post_feedforward_layernorm_2",
     On::kExperts},
    {"post_feedforward_layernorm_2.hook_out", "p D", "", ".post_feedforward_layernorm_2",
     On::kExperts},
    {"pre_feedforward_layernorm_2.hook_in", "p D", "", ".pre_feedforward_layernorm_2",
     On::kExperts},
    {"pre_feedforward_layernorm_2.hook_scale", "p 1", "", ".pre_feedforward_layernorm_2",
     On::kExperts},
    {"pre_feedforward_layernorm_2.hook_normalized", "p D", "", ".pre_feedforward_layernorm_2",
     On::kExperts},
    {"pre_feedforward_layernorm_2.hook_out", "p D", "", ".pre_feedforward_layernorm_2",
     On::kExperts},
};

int64_t HeadWidth(const Config& config, LayerType type) {
  for (const LayerConfig& layer : config.layers) {
    if (layer.type == type) return layer.d_head;
  }
  return 0;
}

// "p H dh" -> "pos head=4 d_head=16".
std::string Axes(const char* letters, const Config& config, const LayerConfig* layer) {
  std::map<std::string, std::string> text = {
      {"p", "pos"},
      {"t", "key_pos"},
      {"1", "one=1"},
      {"D", absl::StrCat("d_model=", config.d_model)},
      {"V", absl::StrCat("d_vocab=", config.d_vocab)},
      {"P", absl::StrCat("d_per_layer_input=", config.d_per_layer_input)},
      {"E", absl::StrCat("expert=", config.n_experts)},
      {"k", absl::StrCat("chosen_expert=", config.n_experts_per_token)},
      {"ds", absl::StrCat("d_head=", HeadWidth(config, LayerType::kSliding))},
      {"df", absl::StrCat("d_head=", HeadWidth(config, LayerType::kFull))},
  };
  if (layer != nullptr) {
    text["H"] = absl::StrCat("head=", config.n_heads);
    text["K"] = absl::StrCat("key_value_head=", layer->n_key_value_heads);
    text["dh"] = absl::StrCat("d_head=", layer->d_head);
    text["F"] = absl::StrCat("d_mlp=", layer->d_mlp);
  }
  std::vector<std::string> axes;
  for (const absl::string_view letter : absl::StrSplit(letters, ' ')) {
    axes.push_back(text.at(std::string(letter)));
  }
  return absl::StrJoin(axes, " ");
}

bool Holds(On on, const Config& config, const LayerConfig* layer) {
  switch (on) {
    case On::kAll:
      return true;
    case On::kOwnKeyValues:
      return !layer->shares_key_values();
    case On::kOwnValues:
      return !layer->shares_key_values() && !layer->key_is_value;
    case On::kPerLayerEmbeddings:
      return config.d_per_layer_input > 0;
    case On::kExperts:
      return config.n_experts > 0;
    case On::kSliding:
      return HeadWidth(config, LayerType::kSliding) > 0;
  }
  return false;
}

}  // namespace

std::vector<ExpectedHook> ExpectedHooks(const Config& config) {
  std::vector<ExpectedHook> hooks;
  const auto add = [&](const Line& line, const std::string& prefix, const std::string& module,
                       const LayerConfig* layer) {
    if (!Holds(line.on, config, layer)) return;
    ExpectedHook hook{
        prefix + line.name,  Axes(line.axes, config, layer), {}, line.dtype, line.writable,
        module + line.module};
    for (const absl::string_view alias : absl::StrSplit(line.aliases, ' ', absl::SkipEmpty())) {
      hook.aliases.push_back(absl::StrCat(prefix, alias));
    }
    hooks.push_back(std::move(hook));
  };
  for (const Line& line : kOutside) {
    const absl::string_view module = line.module;
    add(line, "", module.empty() ? config.module_prefix : config.module_prefix + ".", nullptr);
    if (absl::StartsWith(module, "/")) hooks.back().module = std::string(module.substr(1));
  }
  for (int i = 0; i < config.n_layers(); ++i) {
    for (const Line& line : kInBlock) {
      add(line, absl::StrCat("blocks.", i, "."), absl::StrCat(config.module_prefix, ".layers.", i),
          &config.layers[static_cast<size_t>(i)]);
    }
  }
  return hooks;
}

std::string AxesText(const std::vector<model::Axis>& axes) {
  std::vector<std::string> text;
  for (const model::Axis& axis : axes) {
    text.push_back(axis.size == 0 ? std::string(axis.name)
                                  : absl::StrCat(axis.name, "=", axis.size));
  }
  return absl::StrJoin(text, " ");
}

}  // namespace hookwire::testing
