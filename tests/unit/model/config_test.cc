#include "model/config/config.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/edited_config.h"
#include "tests/unit/model/variant_names.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::EditedConfig;
using ::hookwire::testing::MustParse;
using ::hookwire::testing::TextOnlyConfig;
using ::hookwire::testing::TinyConfig;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

template <typename T>
std::string Text(const std::optional<T>& value) {
  return value ? absl::StrCat(*value) : "none";
}

std::string Text(const std::vector<int64_t>& values) {
  std::string text = "[";
  for (const int64_t value : values) absl::StrAppend(&text, value, " ");
  return text + "]";
}

// All of a Config, for comparison.
std::string Text(const Config& config) {
  std::string text;
  const auto add = [&text](const char* name, const auto& value) {
    absl::StrAppend(&text, name, " ", value, "\n");
  };
  add("architecture", config.architecture);
  add("variant", VariantName(config.variant));
  add("module_prefix", config.module_prefix);
  add("dtype", config.dtype);
  add("d_model", config.d_model);
  add("n_heads", config.n_heads);
  add("n_key_value_heads", config.n_key_value_heads);
  add("d_head", config.d_head);
  add("d_mlp", config.d_mlp);
  add("d_vocab", config.d_vocab);
  add("n_ctx", config.n_ctx);
  add("eps", config.eps);
  add("act_fn", config.act_fn);
  add("sliding_window", config.sliding_window);
  add("final_logit_softcap", Text(config.final_logit_softcap));
  add("attention_bias", config.attention_bias);
  add("tie_word_embeddings", config.tie_word_embeddings);
  add("d_per_layer_input", config.d_per_layer_input);
  add("d_vocab_per_layer_input", config.d_vocab_per_layer_input);
  add("n_key_value_shared_layers", config.n_key_value_shared_layers);
  add("n_experts", config.n_experts);
  add("n_experts_per_token", config.n_experts_per_token);
  add("d_expert", config.d_expert);
  for (const RopeConfig& rope : config.rope) {
    add("rope", absl::StrCat(rope.proportional, " ", rope.theta, " ", rope.partial_rotary_factor));
  }
  for (const LayerConfig& layer : config.layers) {
    add("layer", absl::StrCat(LayerTypeName(layer.type), " ", layer.n_heads, " ",
                              layer.n_key_value_heads, " ", layer.d_head, " ", layer.d_mlp, " ",
                              Text(layer.key_value_source), " ", layer.key_is_value));
  }
  add("bos_token_id", Text(config.bos_token_id));
  add("pad_token_id", Text(config.pad_token_id));
  add("eos_token_ids", Text(config.eos_token_ids));
  add("placeholder_token_ids", Text(config.placeholder_token_ids));
  return text;
}

std::vector<LayerType> Types(const Config& config) {
  std::vector<LayerType> types;
  for (const LayerConfig& layer : config.layers) types.push_back(layer.type);
  return types;
}

class BothForms : public ::testing::TestWithParam<TinyVariant> {};

TEST_P(BothForms, SayTheSame) {
  TinyOptions options;
  options.variant = GetParam();
  options.published_config = false;
  const std::string saved = Text(TinyConfig(options));
  options.published_config = true;
  EXPECT_EQ(Text(TinyConfig(options)), saved);
}

INSTANTIATE_TEST_SUITE_P(ParseConfig, BothForms, hookwire::testing::AllVariants(),
                         hookwire::testing::VariantTestName);

TEST(ParseConfig, ReadsSizesOfTheEType) {
  const Config config = TinyConfig({});
  EXPECT_EQ(config.variant, Variant::kEType);
  EXPECT_EQ(config.module_prefix, "model.language_model");
  EXPECT_EQ(config.architecture, "Gemma4ForConditionalGeneration");
  EXPECT_EQ(config.dtype, "float32");
  EXPECT_EQ(config.d_model, 32);
  EXPECT_EQ(config.n_heads, 4);
  EXPECT_EQ(config.n_key_value_heads, 2);
  EXPECT_EQ(config.d_head, 8);
  EXPECT_EQ(config.d_mlp, 48);
  EXPECT_EQ(config.d_vocab, 48);
  EXPECT_EQ(config.n_ctx, 64);
  EXPECT_EQ(config.eps, 1e-6);
  EXPECT_EQ(config.sliding_window, 4);
  EXPECT_EQ(config.final_logit_softcap, 30.0);
  EXPECT_EQ(config.d_per_layer_input, 8);
  EXPECT_EQ(config.d_vocab_per_layer_input, 48);
  EXPECT_TRUE(config.has_per_layer_inputs());
  EXPECT_FALSE(config.has_experts());
  ASSERT_EQ(config.n_layers(), 6);
  EXPECT_EQ(config.layers[0].d_head, 8);
  EXPECT_EQ(config.layers[1].d_head, 16);
  EXPECT_EQ(config.layers[1].n_key_value_heads, 2);
  EXPECT_FALSE(config.rope[0].proportional);
  EXPECT_EQ(config.rope[0].theta, 1e4);
  EXPECT_EQ(config.rope[0].partial_rotary_factor, 1.0);
  EXPECT_TRUE(config.rope[1].proportional);
  EXPECT_EQ(config.rope[1].theta, 1e6);
  EXPECT_EQ(config.rope[1].partial_rotary_factor, 0.25);
}

TEST(ParseConfig, ReadsExperts) {
  TinyOptions options;
  options.variant = TinyVariant::kMoe;
  const Config config = TinyConfig(options);
  EXPECT_EQ(config.variant, Variant::kMoe);
  EXPECT_EQ(config.n_experts, 4);
  EXPECT_EQ(config.n_experts_per_token, 2);
  EXPECT_EQ(config.d_expert, 16);
  EXPECT_EQ(config.d_per_layer_input, 0);
}

TEST(ParseConfig, KeyIsValueOnFullLayersOnly) {
  TinyOptions options;
  options.variant = TinyVariant::kDense;
  const Config config = TinyConfig(options);
  EXPECT_EQ(config.variant, Variant::kDense);
  for (const LayerConfig& layer : config.layers) {
    const bool full = layer.type == LayerType::kFull;
    EXPECT_EQ(layer.key_is_value, full);
    EXPECT_EQ(layer.n_key_value_heads, full ? 1 : 2);
    EXPECT_EQ(layer.d_head, full ? 16 : 8);
    EXPECT_FALSE(layer.shares_key_values());
  }
}

TEST(ParseConfig, GlobalKeyValueHeadsCountOnlyWhereKeyIsValue) {
  TinyOptions options;
  options.published_config = true;
  const Config config = MustParse(
      EditedConfig(options, [](json&, json& text) { text["num_global_key_value_heads"] = 1; }));
  for (const LayerConfig& layer : config.layers) EXPECT_EQ(layer.n_key_value_heads, 2);
}

// What `save_pretrained` writes where full layers have the head width of sliding ones: overrides
// that repeat the model's own sizes are left out, and an empty object remains.
TEST(ParseConfig, EmptyPerLayerConfigMeansThatAllLayersHaveTheSameSizes) {
  TinyOptions options;
  options.variant = TinyVariant::kDense;
  options.d_head_full = options.d_head;
  options.n_global_key_value_heads = options.n_key_value_heads;
  const Config config = MustParse(
      EditedConfig(options, [](json&, json& text) { text["per_layer_config"] = json::object(); }));
  for (const LayerConfig& layer : config.layers) {
    EXPECT_EQ(layer.d_head, 8);
    EXPECT_EQ(layer.n_key_value_heads, 2);
  }
}

TEST(ParseConfig, NullPerLayerConfigMeansThatAllLayersHaveTheSameSizes) {
  const Config config =
      MustParse(EditedConfig({}, [](json&, json& text) { text["per_layer_config"] = nullptr; }));
  for (const LayerConfig& layer : config.layers) EXPECT_EQ(layer.d_head, 8);
}

TEST(ParseConfig, PerLayerConfigGoesBeforeThePublishedKeys) {
  const Config config =
      MustParse(EditedConfig({}, [](json&, json& text) { text["global_head_dim"] = 64; }));
  EXPECT_EQ(config.layers[1].d_head, 16);
}

TEST(ParseConfig, ReadsZeroPaddedLayerNumbers) {
  TinyOptions options;
  options.layers = "sssssfsssssf";
  options.n_key_value_shared_layers = 0;
  const Config config = MustParse(EditedConfig(options, [](json&, json& text) {
    text["per_layer_config"] = {{"05", {{"head_dim", 16}}}, {"11", {{"head_dim", 16}}}};
  }));
  EXPECT_EQ(config.layers[4].d_head, 8);
  EXPECT_EQ(config.layers[5].d_head, 16);
  EXPECT_EQ(config.layers[11].d_head, 16);
}

// The defaults of Transformers' Gemma4TextConfig and Gemma4Config.
TEST(ParseConfig, MissingKeysHaveTheDefaultsOfTransformers) {
  const Config config = MustParse(R"({"model_type": "gemma4", "text_config": {}})");
  EXPECT_EQ(config.variant, Variant::kEType);
  EXPECT_EQ(config.architecture, "");
  EXPECT_EQ(config.dtype, "");
  EXPECT_EQ(config.d_model, 2304);
  EXPECT_EQ(config.n_heads, 8);
  EXPECT_EQ(config.n_key_value_heads, 4);
  EXPECT_EQ(config.d_head, 256);
  EXPECT_EQ(config.d_mlp, 9216);
  EXPECT_EQ(config.d_vocab, 262'144);
  EXPECT_EQ(config.n_ctx, 131'072);
  EXPECT_EQ(config.eps, 1e-6);
  EXPECT_EQ(config.act_fn, "gelu_pytorch_tanh");
  EXPECT_EQ(config.sliding_window, 512);
  EXPECT_EQ(config.final_logit_softcap, std::nullopt);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.d_per_layer_input, 256);
  EXPECT_EQ(config.d_vocab_per_layer_input, 262'144);
  EXPECT_EQ(config.n_key_value_shared_layers, 0);
  EXPECT_EQ(config.n_experts, 0);
  EXPECT_FALSE(config.rope[0].proportional);
  EXPECT_EQ(config.rope[0].theta, 10'000.0);
  EXPECT_TRUE(config.rope[1].proportional);
  EXPECT_EQ(config.rope[1].theta, 1'000'000.0);
  EXPECT_EQ(config.rope[1].partial_rotary_factor, 0.25);
  EXPECT_EQ(config.bos_token_id, 2);
  EXPECT_EQ(config.pad_token_id, 0);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1));
  EXPECT_THAT(config.placeholder_token_ids, ElementsAre(258'880, 258'884, 258'881));
  ASSERT_EQ(config.n_layers(), 30);
  for (int i = 0; i < 30; ++i) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(i)];
    const bool full = i % 6 == 5;
    EXPECT_EQ(layer.type, full ? LayerType::kFull : LayerType::kSliding) << i;
    EXPECT_EQ(layer.d_head, full ? 512 : 256) << i;
    EXPECT_EQ(layer.n_heads, 8) << i;
    EXPECT_EQ(layer.n_key_value_heads, 4) << i;
    EXPECT_EQ(layer.d_mlp, 9216) << i;
    EXPECT_FALSE(layer.shares_key_values()) << i;
    EXPECT_FALSE(layer.key_is_value) << i;
  }
}

TEST(ParseConfig, TheUnifiedModelHasDefaultsOfItsOwn) {
  const Config config = MustParse(R"({"model_type": "gemma4_unified", "text_config": {}})");
  EXPECT_EQ(config.variant, Variant::kUnified);
  EXPECT_EQ(config.n_ctx, 262'144);
  EXPECT_EQ(config.sliding_window, 1024);
  EXPECT_EQ(config.d_per_layer_input, 0);
  EXPECT_EQ(config.d_vocab_per_layer_input, 0);
}

TEST(ParseConfig, TheUnifiedModelHasNoPerLayerInputsWhateverTheFileSays) {
  TinyOptions options;
  options.variant = TinyVariant::kUnified;
  const Config config = MustParse(EditedConfig(options, [](json&, json& text) {
    text["hidden_size_per_layer_input"] = 8;
    text["enable_moe_block"] = true;
  }));
  EXPECT_FALSE(config.has_per_layer_inputs());
  EXPECT_FALSE(config.has_experts());
}

TEST(ParseConfig, NullTokenIdsAreNone) {
  const Config config = MustParse(EditedConfig({}, [](json&, json& text) {
    text["bos_token_id"] = nullptr;
    text["pad_token_id"] = nullptr;
    text["eos_token_id"] = nullptr;
  }));
  EXPECT_EQ(config.bos_token_id, std::nullopt);
  EXPECT_EQ(config.pad_token_id, std::nullopt);
  EXPECT_THAT(config.eos_token_ids, IsEmpty());
}

TEST(ParseConfig, SeveralTokensMayEndAText) {
  const Config config = MustParse(EditedConfig({}, [](json&, json& text) {
    text["eos_token_id"] = {1, 106};
  }));
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1, 106));
}

TEST(ParseConfig, ReadsTextOnlyCheckpoints) {
  const Config config = MustParse(TextOnlyConfig({}));
  EXPECT_EQ(config.variant, Variant::kEType);
  EXPECT_EQ(config.module_prefix, "model");
  EXPECT_EQ(config.n_layers(), 6);
  EXPECT_THAT(config.placeholder_token_ids, IsEmpty());

  TinyOptions options;
  options.variant = TinyVariant::kUnified;
  EXPECT_EQ(MustParse(TextOnlyConfig(options)).variant, Variant::kUnified);
}

TEST(ParseConfig, TheLastLayerIsFullWhateverTheFileSays) {
  TinyOptions options;
  options.layers = "sfs";
  options.n_key_value_shared_layers = 0;
  options.published_config = true;
  const Config config = TinyConfig(options);
  EXPECT_THAT(Types(config), ElementsAre(LayerType::kSliding, LayerType::kFull, LayerType::kFull));
  EXPECT_EQ(config.layers[2].d_head, 16);
}

TEST(ParseConfig, SharedLayersReuseTheLastOwnLayerOfTheirType) {
  TinyOptions options;
  options.layers = "fssfsssfsf";
  options.n_key_value_shared_layers = 5;
  const Config config = TinyConfig(options);
  EXPECT_EQ(config.n_key_value_shared_layers, 5);
  std::vector<std::optional<int>> sources;
  for (const LayerConfig& layer : config.layers) sources.push_back(layer.key_value_source);
  EXPECT_THAT(sources, ElementsAre(std::nullopt, std::nullopt, std::nullopt, std::nullopt,
                                   std::nullopt, 4, 4, 3, 4, 3));
}

TEST(ParseConfig, DoubleWideMlpsAreThoseOfSharedLayers) {
  const Config config = TinyConfig({});
  EXPECT_EQ(config.layers[3].d_mlp, 48);
  EXPECT_EQ(config.layers[4].d_mlp, 96);
  EXPECT_EQ(config.layers[5].d_mlp, 96);

  const Config single =
      MustParse(EditedConfig({}, [](json&, json& text) { text["use_double_wide_mlp"] = false; }));
  EXPECT_EQ(single.layers[5].d_mlp, 48);
}

TEST(ParseConfig, RopeTypeNeedsNoName) {
  const Config config = MustParse(EditedConfig({}, [](json&, json& text) {
    text["rope_parameters"]["sliding_attention"] = {{"rope_theta", 500.0}};
  }));
  EXPECT_FALSE(config.rope[0].proportional);
  EXPECT_EQ(config.rope[0].theta, 500.0);
}

TEST(ParseConfig, DefaultRopeTurnsEverythingWhateverTheFactor) {
  const Config config = MustParse(EditedConfig({}, [](json&, json& text) {
    text["rope_parameters"]["sliding_attention"]["partial_rotary_factor"] = 0.5;
  }));
  EXPECT_EQ(config.rope[0].partial_rotary_factor, 1.0);
}

TEST(ParseConfig, ModelsWithoutSlidingLayersNeedNoSlidingRope) {
  TinyOptions options;
  options.layers = "ff";
  options.n_key_value_shared_layers = 0;
  const Config config = MustParse(EditedConfig(
      options, [](json&, json& text) { text["rope_parameters"].erase("sliding_attention"); }));
  EXPECT_FALSE(config.has_layer_type(LayerType::kSliding));
  EXPECT_TRUE(config.has_layer_type(LayerType::kFull));
}

TEST(ParseConfig, FindsTheDtypeWhereFilesOfAnyAgeHaveIt) {
  EXPECT_EQ(MustParse(EditedConfig({},
                                   [](json& root, json&) {
                                     root.erase("dtype");
                                     root["torch_dtype"] = "bfloat16";
                                   }))
                .dtype,
            "bfloat16");
  EXPECT_EQ(MustParse(EditedConfig({},
                                   [](json& root, json& text) {
                                     root.erase("dtype");
                                     text["dtype"] = "bfloat16";
                                   }))
                .dtype,
            "bfloat16");
}

TEST(ParseConfig, LeavesUnknownKeysAlone) {
  EXPECT_EQ(Text(MustParse(EditedConfig({},
                                        [](json& root, json& text) {
                                          root["audio_config"] = {{"hidden_size", 7}};
                                          text["attention_dropout"] = 0.0;
                                          text["initializer_range"] = 0.02;
                                        }))),
            Text(TinyConfig({})));
}

}  // namespace
}  // namespace hookwire::model
