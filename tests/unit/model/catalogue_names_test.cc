// What a catalogue answers to names, filters and mistakes.
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/adapter/catalogue.h"
#include "tests/unit/model/edited_config.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::EditedConfig;
using ::hookwire::testing::MustParse;
using ::hookwire::testing::TinyConfig;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

Config ConfigOf(TinyVariant variant, const std::string& layers) {
  TinyOptions options;
  options.variant = variant;
  options.layers = layers;
  return TinyConfig(options);
}

// "sfsfsf", of which layer 4 reuses the keys and values of layer 2, and 5 those of 3.
const Catalogue& EType() {
  static const Catalogue kCatalogue(ConfigOf(TinyVariant::kEType, "sfsfsf"));
  return kCatalogue;
}
const Catalogue& Dense() {
  static const Catalogue kCatalogue(ConfigOf(TinyVariant::kDense, "sfsf"));
  return kCatalogue;
}

std::string Payload(const absl::Status& status, absl::string_view key) {
  const auto payload = status.GetPayload(key);
  return payload ? std::string(*payload) : "";
}

struct Answer {
  std::string message;
  std::string reason;
  std::string suggestion;
  std::string cause;
};

// What Find says of a name that is not there. A filter that is no glob gets the same.
Answer Ask(const Catalogue& catalogue, const std::string& name) {
  const absl::Status status = catalogue.Find(name).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << name;
  if (!Catalogue::IsGlob(name)) {
    EXPECT_EQ(catalogue.Match(name).status(), status);
  }
  return {std::string(status.message()), Payload(status, kErrorReasonPayload),
          Payload(status, kErrorSuggestionPayload), Payload(status, kErrorCausePayload)};
}

// --- Hook points that other models or layers have.

TEST(AbsentHook, KeysOfASharedLayerAreThoseOfItsSource) {
  for (const auto& [rest, there] : std::vector<std::pair<std::string, std::string>>{
           {"attn.hook_k", "attn.hook_k"},
           {"attn.k.hook_out", "attn.k.hook_out"},
           {"attn.k.hook_in", "attn.k.hook_in"},
           {"attn.k_norm.hook_out", "attn.k_norm.hook_out"},
           {"attn.k_norm.hook_scale", "attn.k_norm.hook_scale"},
           {"attn.hook_k_input", "attn.hook_k_input"},
           {"hook_k_input", "hook_k_input"}}) {
    const Answer answer = Ask(EType(), "blocks.4." + rest);
    EXPECT_EQ(answer.message, absl::StrCat("blocks.4.", rest,
                                           " does not exist: layer 4 reuses the keys and values of "
                                           "layer 2; its keys are blocks.2.",
                                           there));
    EXPECT_EQ(answer.reason, "HOOK_ABSENT");
    EXPECT_EQ(answer.suggestion, "blocks.2." + there);
  }
  EXPECT_THAT(Ask(EType(), "blocks.5.attn.hook_k").message,
              HasSubstr("layer 5 reuses the keys and values of layer 3; its keys are "
                        "blocks.3.attn.hook_k"));
}

TEST(AbsentHook, ValuesOfASharedLayerAreThoseOfItsSource) {
  for (const std::string rest :
       {"attn.hook_v", "attn.v.hook_in", "attn.v_norm.hook_out", "hook_v_input"}) {
    const Answer answer = Ask(EType(), "blocks.5." + rest);
    EXPECT_EQ(answer.message, absl::StrCat("blocks.5.", rest,
                                           " does not exist: layer 5 reuses the keys and values of "
                                           "layer 3; its values are blocks.3.",
                                           rest));
    EXPECT_EQ(answer.suggestion, "blocks.3." + rest);
  }
}

TEST(AbsentHook, SuggestionsExist) {
  for (const char* rest : {"attn.hook_k", "attn.v.hook_out", "attn.v_norm.hook_in"}) {
    const std::string suggestion = Ask(EType(), absl::StrCat("blocks.5.", rest)).suggestion;
    EXPECT_TRUE(EType().Find(suggestion).ok()) << suggestion;
  }
}

TEST(AbsentHook, WhereKeysAreValuesThereIsNoV) {
  for (const std::string rest :
       {"attn.hook_v", "attn.v.hook_out", "attn.v.hook_in", "attn.hook_v_input", "hook_v_input"}) {
    const Answer answer = Ask(Dense(), "blocks.1." + rest);
    EXPECT_EQ(answer.message,
              absl::StrCat("blocks.1.", rest,
                           " does not exist: layer 1 has no value projection, its values are its "
                           "keys' (K==V); they are blocks.1.attn.v_norm.hook_in"));
    EXPECT_EQ(answer.suggestion, "blocks.1.attn.v_norm.hook_in");
    EXPECT_EQ(answer.reason, "HOOK_ABSENT");
  }
  EXPECT_TRUE(Dense().Find("blocks.0.attn.hook_v").ok()) << "sliding layers have one";
}

TEST(AbsentHook, ValuesSharedFromALayerWhoseKeysAreValues) {
  TinyOptions options;
  options.variant = TinyVariant::kDense;
  options.layers = "sfsf";
  const Catalogue catalogue(MustParse(
      EditedConfig(options, [](json&, json& text) { text["num_kv_shared_layers"] = 2; })));
  const Answer answer = Ask(catalogue, "blocks.3.attn.hook_v");
  EXPECT_THAT(answer.message, HasSubstr("layer 3 reuses the keys and values of layer 1; its values "
                                        "are blocks.1.attn.v_norm.hook_in"));
  EXPECT_EQ(answer.suggestion, "blocks.1.attn.v_norm.hook_in");
}

TEST(AbsentHook, PerLayerEmbeddingsOfOtherModels) {
  for (const std::string rest :
       {"hook_ple_out", "hook_per_layer_input", "per_layer_input_gate.hook_in",
        "per_layer_projection.hook_out", "post_per_layer_input_norm.hook_scale"}) {
    const Answer answer = Ask(Dense(), "blocks.2." + rest);
    EXPECT_EQ(answer.message, absl::StrCat("blocks.2.", rest,
                                           " does not exist: this checkpoint has no per-layer "
                                           "embeddings (only E2B and E4B have)"));
    EXPECT_EQ(answer.reason, "HOOK_ABSENT");
    EXPECT_EQ(answer.cause, "this checkpoint has no per-layer embeddings (only E2B and E4B have)");
  }
}

TEST(AbsentHook, ExpertsOfOtherModels) {
  for (const std::string rest :
       {"router.hook_out", "router.hook_indices", "experts.hook_in",
        "post_feedforward_layernorm_1.hook_out", "pre_feedforward_layernorm_2.hook_in"}) {
    const Answer answer = Ask(EType(), "blocks.0." + rest);
    EXPECT_EQ(answer.message,
              absl::StrCat("blocks.0.", rest,
                           " does not exist: this checkpoint has no experts (only 26B-A4B has)"));
    EXPECT_EQ(answer.reason, "HOOK_ABSENT");
  }
}

TEST(AbsentHook, RotaryNamesWithoutALayerType) {
  for (const std::string hook : {"hook_in", "hook_cos", "hook_sin"}) {
    const Answer answer = Ask(EType(), "rotary_emb." + hook);
    EXPECT_EQ(answer.message,
              absl::StrCat("rotary_emb.", hook,
                           " does not exist: there is one set of frequencies a layer type; the "
                           "names are rotary_emb.sliding_attention.",
                           hook, " and rotary_emb.full_attention.", hook));
    EXPECT_EQ(answer.suggestion, "rotary_emb.full_attention." + hook);
    EXPECT_EQ(answer.reason, "HOOK_ABSENT");
  }
  const Catalogue full_only(ConfigOf(TinyVariant::kDense, "ff"));
  EXPECT_EQ(Ask(full_only, "rotary_emb.hook_cos").message,
            "rotary_emb.hook_cos does not exist: there is one set of frequencies a layer type; the "
            "names are rotary_emb.full_attention.hook_cos");
}

TEST(AbsentHook, Vision) {
  for (const char* name : {"vision_encoder.hook_in", "vision_projector.hook_out",
                           "vision_encoder.layers.0.attn.hook_z"}) {
    const Answer answer = Ask(EType(), name);
    EXPECT_EQ(answer.message,
              absl::StrCat(name,
                           " does not exist: this server runs the text path; vision hook "
                           "points fire only where a run has an image"));
    EXPECT_EQ(answer.reason, "HOOK_ABSENT");
  }
}

// --- Mistakes.

TEST(UnknownHook, GetsTheNearestName) {
  for (const auto& [wrong, right] : std::vector<std::pair<std::string, std::string>>{
           {"blocks.1.hook_resid_prt", "blocks.1.hook_resid_pre"},
           {"blocks.1.atn.hook_z", "blocks.1.attn.hook_z"},
           {"hook_embedd", "hook_embed"},
           {"blocks.3.mlp.hook_pots", "blocks.3.mlp.hook_post"},
           {"logits", "hook_logits"},
           {"Blocks.1.hook_out", "blocks.1.hook_out"},
           {" hook_embed", "hook_embed"}}) {
    const Answer answer = Ask(EType(), wrong);
    EXPECT_EQ(answer.message, absl::StrCat("no hook point ", wrong, "; did you mean ", right, "?"));
    EXPECT_EQ(answer.suggestion, right);
    EXPECT_EQ(answer.reason, "HOOK_NOT_FOUND");
  }
}

TEST(UnknownHook, AComponentWithoutAHookGetsItsOutput) {
  EXPECT_EQ(Ask(EType(), "blocks.3").suggestion, "blocks.3.hook_out");
  EXPECT_EQ(Ask(EType(), "blocks.3.attn").suggestion, "blocks.3.attn.hook_out");
  EXPECT_EQ(Ask(EType(), "blocks.2.attn.q").suggestion, "blocks.2.attn.q.hook_out");
  EXPECT_EQ(Ask(EType(), "ln_final").suggestion, "ln_final.hook_out");
}

TEST(UnknownHook, LayersOutOfRangeAreCounted) {
  const Answer above = Ask(EType(), "blocks.6.hook_resid_pre");
  EXPECT_EQ(above.message,
            "no hook point blocks.6.hook_resid_pre: this model has layers 0 to 5; did you mean "
            "blocks.5.hook_resid_pre?");
  EXPECT_EQ(above.suggestion, "blocks.5.hook_resid_pre");
  EXPECT_EQ(above.reason, "HOOK_NOT_FOUND");
  EXPECT_EQ(Ask(EType(), "blocks.-1.hook_resid_pre").suggestion, "blocks.0.hook_resid_pre");
  EXPECT_EQ(Ask(EType(), "blocks.99.hook_resid_prt").suggestion, "blocks.5.hook_resid_pre");
  // Too large for a number: still an answer.
  EXPECT_EQ(Ask(EType(), "blocks.99999999999999999999.hook_out").reason, "HOOK_NOT_FOUND");
}

TEST(UnknownHook, ALayerNumberHasOneSpelling) {
  for (const char* number : {"01", "+1", " 1", "1 "}) {
    const Answer answer = Ask(EType(), absl::StrCat("blocks.", number, ".hook_out"));
    EXPECT_EQ(answer.message, absl::StrCat("no hook point blocks.", number,
                                           ".hook_out; did you mean blocks.1.hook_out?"));
  }
}

TEST(UnknownHook, NamesAreShownCut) {
  for (const std::string& name :
       {std::string(1 << 20, 'x'), "blocks.1." + std::string(1 << 20, 'x'),
        "blocks.99." + std::string(1 << 20, 'x'), "vision_encoder." + std::string(1 << 20, 'x')}) {
    const absl::Status status = EType().Find(name).status();
    EXPECT_LT(status.message().size(), 500u);
    EXPECT_LT(Payload(status, kErrorHookPayload).size(), 200u);
  }
}

TEST(UnknownHook, TheEmptyNameIsNone) { EXPECT_EQ(Ask(EType(), "").reason, "HOOK_NOT_FOUND"); }

// --- Filters.

std::vector<std::string> Names(const Catalogue& catalogue, const std::string& filter) {
  const auto matches = catalogue.Match(filter);
  EXPECT_TRUE(matches.ok()) << matches.status();
  std::vector<std::string> names;
  if (matches.ok()) {
    for (const NameMatch& match : *matches) names.emplace_back(match.name);
  }
  return names;
}

TEST(Filter, ANameMatchesItself) {
  EXPECT_THAT(Names(EType(), "blocks.1.hook_in"), ElementsAre("blocks.1.hook_in"));
}

TEST(Filter, AnAliasMatchesItselfAndItsCanonicalName) {
  EXPECT_THAT(Names(EType(), "blocks.1.hook_resid_pre"),
              ElementsAre("blocks.1.hook_resid_pre", "blocks.1.hook_in"));
  const auto matches = *EType().Match("hook_embed");
  ASSERT_THAT(matches, SizeIs(2));
  EXPECT_EQ(matches[0].id, matches[1].id);
}

TEST(Filter, AStarIsOneNameALayer) {
  EXPECT_THAT(Names(EType(), "blocks.*.hook_out"),
              ElementsAre("blocks.0.hook_out", "blocks.1.hook_out", "blocks.2.hook_out",
                          "blocks.3.hook_out", "blocks.4.hook_out", "blocks.5.hook_out"));
}

TEST(Filter, AGlobMatchesAliases) {
  EXPECT_THAT(Names(Dense(), "blocks.*.hook_resid_pre"),
              ElementsAre("blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre",
                          "blocks.2.hook_resid_pre", "blocks.3.hook_resid_pre"));
  // Its canonical name too only if it matches.
  EXPECT_THAT(Names(Dense(), "**hook_z"),
              ElementsAre("blocks.0.attn.hook_z", "blocks.1.attn.hook_z", "blocks.2.attn.hook_z",
                          "blocks.3.attn.hook_z"));
  EXPECT_THAT(Names(Dense(), "blocks.0.attn.hook_*"), Not(SizeIs(1)));
}

TEST(Filter, AGlobMatchesWhereTheHookIs) {
  EXPECT_THAT(Names(EType(), "blocks.*.attn.hook_k"),
              ElementsAre("blocks.0.attn.hook_k", "blocks.1.attn.hook_k", "blocks.2.attn.hook_k",
                          "blocks.3.attn.hook_k"));
}

TEST(Filter, TwoStarsMatchEverythingInTheOrderOfThePass) {
  std::vector<std::string> everything;
  for (const HookPoint& point : EType().points()) {
    everything.push_back(point.name);
    everything.insert(everything.end(), point.aliases.begin(), point.aliases.end());
  }
  EXPECT_EQ(Names(EType(), "**"), everything);
  EXPECT_EQ(Names(EType(), "****"), everything);
}

TEST(Filter, OnlyStarsMakeAGlob) {
  EXPECT_TRUE(Catalogue::IsGlob("blocks.*.hook_out"));
  EXPECT_TRUE(Catalogue::IsGlob("**"));
  EXPECT_FALSE(Catalogue::IsGlob("blocks.?.hook_out"));
  EXPECT_FALSE(Catalogue::IsGlob("hook_embed"));
}

Answer AskGlob(const Catalogue& catalogue, const std::string& pattern) {
  const absl::Status status = catalogue.Match(pattern).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << pattern;
  return {std::string(status.message()), Payload(status, kErrorReasonPayload),
          Payload(status, kErrorSuggestionPayload), Payload(status, kErrorCausePayload)};
}

TEST(GlobWithoutAMatch, GetsTheNearestGlob) {
  const Answer answer = AskGlob(EType(), "blocks.*.hook_resid_prt");
  EXPECT_EQ(answer.message,
            "no hook point matches blocks.*.hook_resid_prt; did you mean blocks.*.hook_resid_pre?");
  EXPECT_EQ(answer.suggestion, "blocks.*.hook_resid_pre");
  EXPECT_EQ(answer.reason, "GLOB_NO_MATCH");
  EXPECT_FALSE(Names(EType(), answer.suggestion).empty());
}

TEST(GlobWithoutAMatch, SaysWhyOtherModelsWouldMatch) {
  EXPECT_EQ(AskGlob(EType(), "blocks.*.experts.hook_out").message,
            "no hook point matches blocks.*.experts.hook_out: this checkpoint has no experts (only "
            "26B-A4B has)");
  const Answer shared = AskGlob(EType(), "blocks.5.*.hook_k");
  EXPECT_EQ(
      shared.message,
      "no hook point matches blocks.5.*.hook_k: layer 5 reuses the keys and values of layer 3; "
      "its keys are blocks.3.attn.hook_k");
  EXPECT_EQ(shared.suggestion, "blocks.3.attn.hook_k");
  EXPECT_EQ(shared.reason, "GLOB_NO_MATCH");
}

// A model with as many layers as the largest, and filters as long as a request can be.
TEST(Filter, LongAndAdversarialFiltersAreQuick) {
  const Catalogue catalogue(ConfigOf(TinyVariant::kMoe, std::string(59, 's') + "f"));
  const auto repeat = [](const std::string& part, size_t size) {
    std::string text;
    while (text.size() < size) text += part;
    return text;
  };
  const size_t long_filter = 4 << 20;
  const std::string filters[] = {
      std::string(long_filter, '*') + "x",
      repeat("*a", long_filter),
      repeat("**.", long_filter),
      repeat("*.", long_filter),
      std::string(long_filter, 'a') + "*",
      std::string(long_filter, 'a'),
      "blocks.0." + std::string(long_filter, 'a'),
      repeat("blocks.*.", long_filter),
      "**" + repeat("*k**", 100) + "z",
      repeat("**o**", 119),
  };
  for (const std::string& filter : filters) {
    const auto begin = std::chrono::steady_clock::now();
    const auto matches = catalogue.Match(filter);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2))
        << filter.substr(0, 20);
    EXPECT_FALSE(matches.ok()) << filter.substr(0, 20);
    EXPECT_LT(matches.status().message().size(), 600u);
  }
  EXPECT_TRUE(catalogue.Match(std::string(long_filter, '*')).ok());
}

}  // namespace
}  // namespace hookwire::model
