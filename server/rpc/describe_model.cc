#include "server/rpc/describe_model.h"

#include "server/errors/errors.h"
#include "server/plan/describe.h"
#include "server/plan/dtypes.h"

namespace hookwire::server {
namespace {

// As proto/hookwire/v1/model.proto says.
constexpr int kMaxUnreadTensors = 100;

v1::AttentionType ToWire(model::LayerType type) {
  switch (type) {
    case model::LayerType::kSliding:
      return v1::ATTENTION_TYPE_SLIDING;
    case model::LayerType::kFull:
      return v1::ATTENTION_TYPE_FULL;
  }
  return v1::ATTENTION_TYPE_UNSPECIFIED;
}

uint32_t U32(int64_t value) { return static_cast<uint32_t>(value); }

void DescribeRope(model::LayerType type, const model::RopeConfig& rope, v1::Rope& out) {
  out.set_attention_type(ToWire(type));
  out.set_type(rope.proportional ? "proportional" : "default");
  out.set_theta(rope.theta);
  out.set_partial_rotary_factor(rope.partial_rotary_factor);
}

void DescribeLayer(const model::LayerConfig& layer, double scalar, v1::Layer& out) {
  out.set_attention_type(ToWire(layer.type));
  out.set_n_heads(U32(layer.n_heads));
  out.set_n_key_value_heads(U32(layer.n_key_value_heads));
  out.set_d_head(U32(layer.d_head));
  out.set_d_mlp(U32(layer.d_mlp));
  if (layer.key_value_source.has_value()) out.set_key_value_source(U32(*layer.key_value_source));
  out.set_key_is_value(layer.key_is_value);
  out.set_layer_scalar(scalar);
}

}  // namespace

v1::Numerics ToWire(model::Numerics numerics) {
  switch (numerics) {
    case model::Numerics::kFast:
      return v1::NUMERICS_FAST;
    case model::Numerics::kInvariant:
      return v1::NUMERICS_INVARIANT;
    case model::Numerics::kReference:
      return v1::NUMERICS_REFERENCE;
  }
  return v1::NUMERICS_UNSPECIFIED;
}

v1::Model DescribeModel(const model::Config& config, const ModelFacts& facts) {
  v1::Model out;
  out.set_name(facts.name);
  out.set_architecture(config.architecture);
  out.set_variant(std::string(model::VariantName(config.variant)));
  out.set_n_layers(U32(config.n_layers()));
  out.set_d_model(U32(config.d_model));
  out.set_n_heads(U32(config.n_heads));
  out.set_n_key_value_heads(U32(config.n_key_value_heads));
  out.set_d_head(U32(config.d_head));
  out.set_d_mlp(U32(config.d_mlp));
  out.set_d_vocab(U32(config.d_vocab));
  out.set_n_ctx(U32(config.n_ctx));
  out.set_eps(config.eps);
  out.set_act_fn(config.act_fn);
  out.set_sliding_window(U32(config.sliding_window));
  if (config.final_logit_softcap.has_value()) {
    out.set_final_logit_softcap(*config.final_logit_softcap);
  }
  out.set_d_per_layer_input(U32(config.d_per_layer_input));
  out.set_d_vocab_per_layer_input(U32(config.d_vocab_per_layer_input));
  out.set_n_key_value_shared_layers(U32(config.n_key_value_shared_layers));
  out.set_n_experts(U32(config.n_experts));
  out.set_n_experts_per_token(U32(config.n_experts_per_token));
  out.set_d_expert(U32(config.d_expert));
  out.set_tie_word_embeddings(config.tie_word_embeddings);
  for (const model::LayerType type : {model::LayerType::kSliding, model::LayerType::kFull}) {
    if (!config.has_layer_type(type)) continue;
    DescribeRope(type, config.rope[static_cast<int>(type)], *out.add_ropes());
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    DescribeLayer(config.layers[i], facts.layer_scalars[i], *out.add_layers());
  }
  if (config.bos_token_id.has_value()) out.set_bos_token_id(U32(*config.bos_token_id));
  for (const int64_t id : config.eos_token_ids) out.add_eos_token_ids(U32(id));
  if (config.pad_token_id.has_value()) out.set_pad_token_id(U32(*config.pad_token_id));
  out.set_n_params(static_cast<uint64_t>(facts.n_params));
  for (const std::string& name : facts.unread_tensors) {
    if (out.unread_tensors_size() == kMaxUnreadTensors) break;
    out.add_unread_tensors(Shorten(name, kMaxErrorMetadata));
  }
  out.set_n_unread_tensors(static_cast<uint32_t>(facts.unread_tensors.size()));
  return out;
}

v1::HookPoint DescribeHook(const model::HookPoint& point, at::ScalarType compute) {
  v1::HookPoint out;
  out.set_name(point.name);
  for (const std::string& alias : point.aliases) out.add_aliases(alias);
  if (point.layer >= 0) out.set_layer(U32(point.layer));
  for (const model::Axis& axis : point.axes) {
    v1::Axis* const described = out.add_axes();
    described->set_kind(ToWire(axis.kind));
    described->set_name(std::string(axis.name));
    described->set_size(static_cast<uint64_t>(axis.size));
  }
  out.set_dtype(ToWire(DtypeOf(point.dtype, compute)));
  out.set_writable(point.writable);
  out.set_read_only_reason(point.read_only_reason);
  out.set_module(point.module);
  return out;
}

}  // namespace hookwire::server
