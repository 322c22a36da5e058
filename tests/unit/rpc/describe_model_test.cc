#include "server/rpc/describe_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hookwire::server {
namespace {

model::Config MakeConfig() {
  model::Config config;
  config.architecture = "Gemma4ForConditionalGeneration";
  config.variant = model::Variant::kEType;
  config.d_model = 64;
  config.n_heads = 4;
  config.n_key_value_heads = 2;
  config.d_head = 16;
  config.d_mlp = 128;
  config.d_vocab = 300;
  config.n_ctx = 512;
  config.eps = 1e-6;
  config.act_fn = "gelu_pytorch_tanh";
  config.sliding_window = 8;
  config.final_logit_softcap = 30.0;
  config.d_per_layer_input = 12;
  config.d_vocab_per_layer_input = 290;
  config.n_key_value_shared_layers = 1;
  config.tie_word_embeddings = true;
  config.rope[0] = {.proportional = false, .theta = 1e4, .partial_rotary_factor = 1.0};
  config.rope[1] = {.proportional = true, .theta = 1e6, .partial_rotary_factor = 0.25};
  model::LayerConfig sliding;
  sliding.type = model::LayerType::kSliding;
  sliding.n_heads = 4;
  sliding.n_key_value_heads = 2;
  sliding.d_head = 16;
  sliding.d_mlp = 128;
  model::LayerConfig full = sliding;
  full.type = model::LayerType::kFull;
  full.d_head = 32;
  full.d_mlp = 256;
  full.key_value_source = 0;
  config.layers = {sliding, full};
  config.bos_token_id = 2;
  config.eos_token_ids = {1, 106};
  return config;
}

TEST(DescribeModel, SaysWhatTheConfigSays) {
  const v1::Model model =
      DescribeModel(MakeConfig(), {.name = "toy", .layer_scalars = {1.0, 0.5}, .n_params = 12'345});
  EXPECT_EQ(model.name(), "toy");
  EXPECT_EQ(model.architecture(), "Gemma4ForConditionalGeneration");
  EXPECT_EQ(model.variant(), "E");
  EXPECT_EQ(model.n_layers(), 2u);
  EXPECT_EQ(model.d_model(), 64u);
  EXPECT_EQ(model.n_heads(), 4u);
  EXPECT_EQ(model.n_key_value_heads(), 2u);
  EXPECT_EQ(model.d_head(), 16u);
  EXPECT_EQ(model.d_mlp(), 128u);
  EXPECT_EQ(model.d_vocab(), 300u);
  EXPECT_EQ(model.d_vocab_per_layer_input(), 290u);
  EXPECT_EQ(model.n_ctx(), 512u);
  EXPECT_EQ(model.eps(), 1e-6);
  EXPECT_EQ(model.act_fn(), "gelu_pytorch_tanh");
  EXPECT_EQ(model.sliding_window(), 8u);
  EXPECT_EQ(model.final_logit_softcap(), 30.0);
  EXPECT_EQ(model.d_per_layer_input(), 12u);
  EXPECT_EQ(model.n_key_value_shared_layers(), 1u);
  EXPECT_TRUE(model.tie_word_embeddings());
  EXPECT_EQ(model.n_params(), 12'345u);
  EXPECT_EQ(model.bos_token_id(), 2u);
  EXPECT_FALSE(model.has_pad_token_id());
  EXPECT_THAT(model.eos_token_ids(), testing::ElementsAre(1, 106));
}

TEST(DescribeModel, DescribesEachLayer) {
  const v1::Model model =
      DescribeModel(MakeConfig(), {.name = "toy", .layer_scalars = {1.0, 0.5}, .n_params = 0});
  ASSERT_EQ(model.layers_size(), 2);
  EXPECT_EQ(model.layers(0).attention_type(), v1::ATTENTION_TYPE_SLIDING);
  EXPECT_FALSE(model.layers(0).has_key_value_source());
  EXPECT_EQ(model.layers(0).layer_scalar(), 1.0);
  EXPECT_EQ(model.layers(1).attention_type(), v1::ATTENTION_TYPE_FULL);
  EXPECT_TRUE(model.layers(1).has_key_value_source());
  EXPECT_EQ(model.layers(1).key_value_source(), 0u);
  EXPECT_EQ(model.layers(1).d_head(), 32u);
  EXPECT_EQ(model.layers(1).d_mlp(), 256u);
  EXPECT_EQ(model.layers(1).layer_scalar(), 0.5);
}

TEST(DescribeModel, DescribesTheRopeOfEachLayerType) {
  const v1::Model model =
      DescribeModel(MakeConfig(), {.name = "toy", .layer_scalars = {1.0, 0.5}, .n_params = 0});
  ASSERT_EQ(model.ropes_size(), 2);
  EXPECT_EQ(model.ropes(0).attention_type(), v1::ATTENTION_TYPE_SLIDING);
  EXPECT_EQ(model.ropes(0).type(), "default");
  EXPECT_EQ(model.ropes(1).type(), "proportional");
  EXPECT_EQ(model.ropes(1).theta(), 1e6);
  EXPECT_EQ(model.ropes(1).partial_rotary_factor(), 0.25);
}

TEST(DescribeHook, SaysWhatTheCatalogueSays) {
  const model::Catalogue catalogue(MakeConfig());
  const v1::HookPoint q =
      DescribeHook(catalogue.point(*catalogue.Find("blocks.1.attn.hook_q")), at::kBFloat16);
  EXPECT_EQ(q.name(), "blocks.1.attn.q.hook_out");
  EXPECT_THAT(q.aliases(), testing::ElementsAre("blocks.1.attn.hook_q"));
  EXPECT_EQ(q.layer(), 1u);
  EXPECT_EQ(q.dtype(), v1::DTYPE_BFLOAT16);
  EXPECT_TRUE(q.writable());
  EXPECT_EQ(q.module(), "model.language_model.layers.1.self_attn.q_proj");
  ASSERT_EQ(q.axes_size(), 3);
  EXPECT_EQ(q.axes(0).kind(), v1::Axis::KIND_POSITION);
  EXPECT_EQ(q.axes(0).name(), "pos");
  EXPECT_EQ(q.axes(0).size(), 0u);
  EXPECT_EQ(q.axes(1).kind(), v1::Axis::KIND_HEAD);
  EXPECT_EQ(q.axes(1).size(), 4u);
  EXPECT_EQ(q.axes(2).kind(), v1::Axis::KIND_FEATURE);
  EXPECT_EQ(q.axes(2).size(), 32u);

  const v1::HookPoint embed =
      DescribeHook(catalogue.point(*catalogue.Find("embed.hook_in")), at::kBFloat16);
  EXPECT_FALSE(embed.has_layer());
  EXPECT_EQ(embed.dtype(), v1::DTYPE_INT64);
}

}  // namespace
}  // namespace hookwire::server
