// What ParseConfig refuses, and that its message names the key and what is wrong with it.
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/config/config.h"
#include "tests/unit/model/edited_config.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::ConfigEdit;
using ::hookwire::testing::EditedConfig;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::nlohmann::json;
using ::testing::StartsWith;

std::string MessageOf(const std::string& text) {
  const absl::Status status = ParseConfig(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(ParseConfigRefuses, WhatIsNoJsonObject) {
  for (const char* text : {"[1, 2]", "7", "\"gemma4\""}) {
    EXPECT_EQ(MessageOf(text), "config.json: is not a JSON object") << text;
  }
  for (const char* text : {"", "{", "{\"model_type\": \"gemma4\",}"}) {
    EXPECT_EQ(MessageOf(text), "config.json: is not valid JSON: it may be cut short") << text;
  }
}

TEST(ParseConfigRefuses, OtherModels) {
  EXPECT_EQ(MessageOf(R"({"model_type": "gemma3"})"),
            "config.json: model_type is \"gemma3\"; this server runs gemma4 and gemma4_unified");
  EXPECT_EQ(MessageOf("{}"),
            "config.json: model_type is missing; this server runs gemma4 and gemma4_unified");
}

TEST(ParseConfigRefuses, AMissingTextConfig) {
  EXPECT_EQ(MessageOf(R"({"model_type": "gemma4"})"), "config.json: text_config is missing");
  EXPECT_EQ(MessageOf(R"({"model_type": "gemma4", "text_config": [1]})"),
            "config.json: text_config must be an object, not [1]");
}

TEST(ParseConfigRefuses, LongValuesAreCutInTheMessage) {
  const std::string text =
      EditedConfig({}, [](json&, json& config) { config["hidden_size"] = std::string(1000, 'x'); });
  EXPECT_LT(MessageOf(text).size(), 150u);
}

struct Refusal {
  const char* name;
  ConfigEdit edit;
  const char* message;  // the beginning of it, after "config.json: "
  TinyVariant variant = TinyVariant::kEType;
};

class ParseConfigRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(ParseConfigRefusals, NameTheKey) {
  TinyOptions options;
  options.variant = GetParam().variant;
  EXPECT_THAT(MessageOf(EditedConfig(options, GetParam().edit)),
              StartsWith(std::string("config.json: ") + GetParam().message));
}

// An edit that gives one key of the text model's part another value.
ConfigEdit Set(const char* key, json value) {
  return [key, value = std::move(value)](json&, json& text) { text[key] = value; };
}

ConfigEdit SetRope(const char* type, const char* key, const json& value) {
  return [=](json&, json& text) { text["rope_parameters"][type][key] = value; };
}

const Refusal kRefusals[] = {
    // Wrong types and sizes.
    {"StringForInt", Set("hidden_size", "32"),
     "text_config.hidden_size must be an integer, not \"32\""},
    {"FloatForInt", Set("hidden_size", 32.5),
     "text_config.hidden_size must be an integer, not 32.5"},
    {"Zero", Set("num_attention_heads", 0),
     "text_config.num_attention_heads must be a positive integer, not 0"},
    {"Negative", Set("vocab_size", -5),
     "text_config.vocab_size must be a positive integer, not -5"},
    {"Huge", Set("intermediate_size", int64_t{1} << 40),
     "text_config.intermediate_size must be a positive integer"},
    {"ZeroWindow", Set("sliding_window", 0),
     "text_config.sliding_window must be a positive integer, not 0"},
    {"StringForNumber", Set("rms_norm_eps", "small"),
     "text_config.rms_norm_eps must be a number, not \"small\""},
    {"StringForBool", Set("attention_k_eq_v", "yes"),
     "text_config.attention_k_eq_v must be true or false, not \"yes\""},
    {"NumberForString", Set("hidden_activation", 3),
     "text_config.hidden_activation must be a string, not 3"},
    {"StringForLayers", Set("num_hidden_layers", "six"),
     "text_config.num_hidden_layers must be an integer, not \"six\""},
    {"NoLayers", Set("num_hidden_layers", 0),
     "text_config.num_hidden_layers must be a positive integer, not 0"},
    {"TooManyLayers", Set("num_hidden_layers", 5000), "num_hidden_layers 5000 is more than 4096"},
    {"StringForEos", Set("eos_token_id", json::array({1, "<eos>"})),
     "text_config.eos_token_id must be an integer or a list of integers"},
    {"StringForBos", Set("bos_token_id", "<bos>"),
     "text_config.bos_token_id must be an integer, not \"<bos>\""},
    {"StringForImageToken", [](json& root, json&) { root["image_token_id"] = "<image>"; },
     "image_token_id must be an integer, not \"<image>\""},
    {"StringForTied", [](json& root, json&) { root["tie_word_embeddings"] = 1; },
     "tie_word_embeddings must be true or false, not 1"},
    {"NumberForDtype", [](json& root, json&) { root["dtype"] = 16; },
     "dtype must be a string, not 16"},
    {"ListForRope", Set("rope_parameters", json::array()),
     "text_config.rope_parameters must be an object, not []"},
    {"ListForPerLayer", Set("per_layer_config", json::array()),
     "text_config.per_layer_config must be an object, not []"},
    {"NegativePerLayerInput", Set("hidden_size_per_layer_input", -1),
     "text_config.hidden_size_per_layer_input must be a positive integer, not -1"},
    {"HugePerLayerInput", Set("hidden_size_per_layer_input", int64_t{1} << 62),
     "text_config.hidden_size_per_layer_input must be a positive integer"},
    {"ZeroSoftcap", Set("final_logit_softcapping", 0),
     "text_config.final_logit_softcapping must be a positive number, not 0"},
    {"StringSoftcap", Set("final_logit_softcapping", "30"),
     "text_config.final_logit_softcapping must be a number, not \"30\""},
    // Heads.
    {"OddHeadDim", Set("head_dim", 7),
     "head_dim 7 of layer 0 is odd; rotary embedding needs pairs"},
    {"OddHeadDimOfALayer",
     [](json&, json& text) {
       text["per_layer_config"]["1"]["head_dim"] = 15;
       text["per_layer_config"]["3"]["head_dim"] = 15;
       text["per_layer_config"]["5"]["head_dim"] = 15;
     },
     "head_dim 15 of layer 1 is odd"},
    {"HeadsNoMultiple", Set("num_key_value_heads", 3),
     "num_attention_heads 4 is no multiple of the 3 key-value heads of layer 0"},
    {"MoreKeyValueHeads", Set("num_key_value_heads", 8),
     "num_attention_heads 4 is no multiple of the 8 key-value heads of layer 0"},
    {"HeadsNoMultipleOnFullLayers",
     [](json&, json& text) { text["per_layer_config"]["1"]["num_key_value_heads"] = 3; },
     "num_attention_heads 4 is no multiple of the 3 key-value heads of layer 1",
     TinyVariant::kDense},
    {"HeadDimsDifferInAType",
     [](json&, json& text) { text["per_layer_config"]["3"]["head_dim"] = 32; },
     "layer 3 has another head_dim than an earlier full_attention layer", TinyVariant::kDense},
    {"SharersWithOtherHeads",
     [](json&, json& text) { text["per_layer_config"]["5"]["num_key_value_heads"] = 1; },
     "layer 5 reuses the keys of layer 3 but has other head sizes"},
    // Layers.
    {"TooFewLayerTypes", Set("layer_types", json::array({"full_attention"})),
     "layer_types must be a list of 6 names, one a layer"},
    {"LayerTypesNoList", Set("layer_types", "full_attention"),
     "layer_types must be a list of 6 names, one a layer"},
    {"UnknownLayerType", [](json&, json& text) { text["layer_types"][2] = "chunked_attention"; },
     "layer_types[2] must be sliding_attention or full_attention"},
    {"LayerTypeNoName", [](json&, json& text) { text["layer_types"][2] = 1; },
     "layer_types[2] must be sliding_attention or full_attention"},
    {"AllShared", Set("num_kv_shared_layers", 6),
     "num_kv_shared_layers 6 must be less than num_hidden_layers 6"},
    {"NegativeShared", Set("num_kv_shared_layers", -1),
     "num_kv_shared_layers -1 must be less than num_hidden_layers 6"},
    {"SharingWithoutASource", Set("num_kv_shared_layers", 5),
     "layer 1 reuses keys and values, but no full_attention layer before the last 5 has any"},
    {"PerLayerOfNoLayer", [](json&, json& text) { text["per_layer_config"]["6"]["head_dim"] = 16; },
     "per_layer_config.6 names no layer of 6"},
    {"PerLayerOfNoNumber",
     [](json&, json& text) { text["per_layer_config"]["last"]["head_dim"] = 16; },
     "per_layer_config.last names no layer of 6"},
    {"PerLayerNoObject", [](json&, json& text) { text["per_layer_config"]["1"] = 16; },
     "per_layer_config.1 names no layer of 6"},
    {"PerLayerUnknownKey",
     [](json&, json& text) { text["per_layer_config"]["1"]["intermediate_size"] = 64; },
     "per_layer_config.1.intermediate_size is not supported"},
    {"PerLayerZero", [](json&, json& text) { text["per_layer_config"]["1"]["head_dim"] = 0; },
     "per_layer_config.1.head_dim must be a positive integer"},
    {"PerLayerString", [](json&, json& text) { text["per_layer_config"]["1"]["head_dim"] = "16"; },
     "per_layer_config.1.head_dim must be a positive integer"},
    {"GlobalHeadDimString",
     [](json&, json& text) {
       text.erase("per_layer_config");
       text["global_head_dim"] = "16";
     },
     "text_config.global_head_dim must be an integer, not \"16\""},
    // Rope.
    {"UnknownRope", SetRope("full_attention", "rope_type", "yarn"),
     "rope_parameters.full_attention.rope_type yarn is not supported"},
    {"RopeFactor", SetRope("full_attention", "factor", 8.0),
     "rope_parameters.full_attention.factor 8 is not supported"},
    {"ZeroTheta", SetRope("sliding_attention", "rope_theta", 0),
     "rope_parameters.sliding_attention needs rope_theta > 0"},
    {"StringTheta", SetRope("sliding_attention", "rope_theta", "1e4"),
     "rope_parameters.sliding_attention.rope_theta must be a number, not \"1e4\""},
    {"PartialOverOne", SetRope("full_attention", "partial_rotary_factor", 1.5),
     "rope_parameters.full_attention needs rope_theta > 0 and 0 < partial_rotary_factor <= 1"},
    {"RopeOfATypeMissing",
     [](json&, json& text) { text["rope_parameters"].erase("full_attention"); },
     "rope_parameters.full_attention is missing"},
    // What the text path does not have.
    {"Encoder", Set("use_bidirectional_attention", "all"),
     "use_bidirectional_attention \"all\" (an encoder) is not supported"},
    {"Activation", Set("hidden_activation", "silu"),
     "hidden_activation silu is not supported; Gemma 4 has gelu_pytorch_tanh"},
    // Experts.
    {"ExpertsMissing", Set("num_experts", nullptr),
     "text_config.num_experts must be a positive integer, not 0", TinyVariant::kMoe},
    {"ExpertWidthMissing", Set("moe_intermediate_size", nullptr),
     "text_config.moe_intermediate_size must be a positive integer, not 0", TinyVariant::kMoe},
    {"MoreExpertsPerTokenThanExperts", Set("top_k_experts", 5),
     "top_k_experts 5 is more than num_experts 4", TinyVariant::kMoe},
};

INSTANTIATE_TEST_SUITE_P(Config, ParseConfigRefusals, ::testing::ValuesIn(kRefusals),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace hookwire::model
