#include "model/adapter/components.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hookwire::model {
namespace {

using C = Component;
using P = Presence;

// TransformerLens's Gemma 4 adapter, as data. Indexed by Component.
constexpr ComponentRow kComponents[] = {
    {C::kModel, "", "", false, P::kAlways},
    {C::kEmbed, "embed", "embed_tokens", false, P::kAlways},
    {C::kRotarySliding, "rotary_emb.sliding_attention", "rotary_emb", false, P::kSlidingLayers},
    {C::kRotaryFull, "rotary_emb.full_attention", "rotary_emb", false, P::kAlways},
    {C::kBlock, "", "", true, P::kAlways},
    {C::kLn1, "ln1", "input_layernorm", true, P::kAlways},
    {C::kAttn, "attn", "self_attn", true, P::kAlways},
    {C::kQ, "attn.q", "self_attn.q_proj", true, P::kAlways},
    {C::kQNorm, "attn.q_norm", "self_attn.q_norm", true, P::kAlways},
    {C::kK, "attn.k", "self_attn.k_proj", true, P::kOwnKeyValues},
    {C::kKNorm, "attn.k_norm", "self_attn.k_norm", true, P::kOwnKeyValues},
    {C::kV, "attn.v", "self_attn.v_proj", true, P::kOwnValues},
    {C::kVNorm, "attn.v_norm", "self_attn.v_norm", true, P::kOwnKeyValues},
    {C::kO, "attn.o", "self_attn.o_proj", true, P::kAlways},
    {C::kLn1Post, "ln1_post", "post_attention_layernorm", true, P::kAlways},
    {C::kLn2, "ln2", "pre_feedforward_layernorm", true, P::kAlways},
    {C::kMlp, "mlp", "mlp", true, P::kAlways},
    {C::kMlpGate, "mlp.gate", "mlp.gate_proj", true, P::kAlways},
    {C::kMlpIn, "mlp.in", "mlp.up_proj", true, P::kAlways},
    {C::kMlpOut, "mlp.out", "mlp.down_proj", true, P::kAlways},
    {C::kPostFeedforwardNorm1, "post_feedforward_layernorm_1", "post_feedforward_layernorm_1", true,
     P::kExperts},
    {C::kRouter, "router", "router", true, P::kExperts},
    {C::kPreFeedforwardNorm2, "pre_feedforward_layernorm_2", "pre_feedforward_layernorm_2", true,
     P::kExperts},
    {C::kExperts, "experts", "experts", true, P::kExperts},
    {C::kPostFeedforwardNorm2, "post_feedforward_layernorm_2", "post_feedforward_layernorm_2", true,
     P::kExperts},
    {C::kLn2Post, "ln2_post", "post_feedforward_layernorm", true, P::kAlways},
    {C::kPerLayerInputGate, "per_layer_input_gate", "per_layer_input_gate", true,
     P::kPerLayerInputs},
    {C::kPerLayerProjection, "per_layer_projection", "per_layer_projection", true,
     P::kPerLayerInputs},
    {C::kPostPerLayerInputNorm, "post_per_layer_input_norm", "post_per_layer_input_norm", true,
     P::kPerLayerInputs},
    {C::kLnFinal, "ln_final", "norm", false, P::kAlways},
    {C::kUnembed, "unembed", "/lm_head", false, P::kAlways},
};

}  // namespace

absl::Span<const ComponentRow> ComponentTable() { return kComponents; }

const ComponentRow& Row(Component component) { return kComponents[static_cast<size_t>(component)]; }

bool IsPresent(Presence presence, const Config& config, int layer) {
  const auto at = [&config, layer]() -> const LayerConfig& {
    return config.layers[static_cast<size_t>(layer)];
  };
  switch (presence) {
    case P::kAlways:
      return true;
    case P::kOwnKeyValues:
      return !at().shares_key_values();
    case P::kOwnValues:
      return !at().shares_key_values() && !at().key_is_value;
    case P::kSharedKeyValues:
      return at().shares_key_values();
    case P::kPerLayerInputs:
      return config.has_per_layer_inputs();
    case P::kExperts:
      return config.has_experts();
    case P::kSlidingLayers:
      return config.has_layer_type(LayerType::kSliding);
  }
  return false;
}

std::string ComponentName(Component component, int layer) {
  const ComponentRow& row = Row(component);
  if (!row.per_layer) return std::string(row.name);
  return absl::StrCat("blocks.", layer, row.name.empty() ? "" : ".", row.name);
}

std::string ModulePath(Component component, const Config& config, int layer) {
  const ComponentRow& row = Row(component);
  absl::string_view module = row.module;
  if (absl::ConsumePrefix(&module, "/")) return std::string(module);
  std::string path = config.module_prefix;
  if (row.per_layer) absl::StrAppend(&path, ".layers.", layer);
  if (!module.empty()) absl::StrAppend(&path, ".", module);
  return path;
}

}  // namespace hookwire::model
