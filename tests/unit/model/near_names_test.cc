// Which wrong hook names get a suggestion: slips and TransformerLens's short names; names that are
// like none get none.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "model/adapter/catalogue.h"
#include "model/adapter/nearest.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::model {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The suggestion for a name or glob that the tiny E-type model does not have.
std::string Suggestion(const std::string& wrong) {
  const absl::Status status = hookwire::testing::TinyModel().catalogue().Match(wrong).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << wrong;
  const auto suggestion = status.GetPayload(kErrorSuggestionPayload);
  return suggestion ? std::string(*suggestion) : "";
}

TEST(NearNames, EmptyAndBlankNamesAreCalledSo) {
  const TextModel& model = hookwire::testing::TinyModel();
  for (const auto& [name, word] : {std::pair("", "is empty; "), std::pair(" ", "is blank; ")}) {
    EXPECT_THAT(std::string(model.catalogue().Find(name).status().message()),
                HasSubstr(std::string("the name of a hook point ") + word));
    EXPECT_THAT(std::string(model.catalogue().Match(name).status().message()),
                HasSubstr(std::string("the name of a hook point ") + word));
    EXPECT_THAT(std::string(model.parameters().Find(name).status().message()),
                HasSubstr(std::string("the name of a parameter ") + word));
    EXPECT_EQ(Suggestion(name), "");
  }
}

TEST(NearNames, ShortNamesAreSuggestedInFull) {
  for (const auto& [wrong, right] : std::vector<std::pair<std::string, std::string>>{
           {"resid_pre", "blocks.*.hook_resid_pre"},
           {"resid_mid", "blocks.*.hook_resid_mid"},
           {"resid_post", "blocks.*.hook_resid_post"},
           {"hook_resid_post", "blocks.*.hook_resid_post"},
           {"attn_out", "blocks.*.hook_attn_out"},
           {"mlp_out", "blocks.*.hook_mlp_out"},
           {"pattern", "blocks.*.attn.hook_pattern"},
           {"attn_scores", "blocks.*.attn.hook_attn_scores"},
           {"q", "blocks.*.attn.hook_q"},
           {"z", "blocks.*.attn.hook_z"},
           {"*hook_z", "blocks.*.attn.hook_z"},
           {"*pattern", "blocks.*.attn.hook_pattern"},
           {"embed", "embed.hook_out"},
           {"logits", "hook_logits"}}) {
    EXPECT_EQ(Suggestion(wrong), right) << wrong;
    EXPECT_TRUE(hookwire::testing::TinyModel().catalogue().Match(right).ok()) << right;
  }
}

TEST(NearNames, SlipsKeepTheirSuggestion) {
  for (const auto& [wrong, right] : std::vector<std::pair<std::string, std::string>>{
           {"blocks.1.hook_resid_prt", "blocks.1.hook_resid_pre"},
           {"blocks.1.hook_residpre", "blocks.1.hook_resid_pre"},
           {"blocks.1.resid_post", "blocks.1.hook_resid_post"},
           {"blocks.1.attn.hook_patern", "blocks.1.attn.hook_pattern"},
           {"blocks.1.attention.hook_z", "blocks.1.attn.hook_z"},
           {"blocks.3.mlp.hook_pots", "blocks.3.mlp.hook_post"},
           {"blocks.*.hook_resid_psot", "blocks.*.hook_resid_post"},
           {"hook_embedd", "hook_embed"},
           {"BLOCKS.1.hook_out", "blocks.1.hook_out"}}) {
    EXPECT_EQ(Suggestion(wrong), right) << wrong;
  }
}

TEST(NearNames, WhatIsLikeNoneGetsNoneAndIsToldHowToListThem) {
  for (const std::string wrong :
       {"foo", "gradient", "*foo*", "blocks.1.hook_banana", "loss", "x", "blocks.1.hook_x",
        "transformer.h.0", "everything", "*.weight", "hook_", "", "blocks.*.hook_gradient"}) {
    EXPECT_EQ(Suggestion(wrong), "") << wrong;
    const std::string message(
        hookwire::testing::TinyModel().catalogue().Match(wrong).status().message());
    EXPECT_THAT(message, Not(HasSubstr("did you mean"))) << wrong;
    EXPECT_THAT(message, HasSubstr("hookwire hooks")) << wrong;
  }
}

TEST(NearNames, NearnessIsRelativeToTheLength) {
  EXPECT_TRUE(IsNear("pots", "post"));
  EXPECT_TRUE(IsNear("max-token", "max-tokens"));
  EXPECT_TRUE(IsNear("strct", "strict"));
  EXPECT_FALSE(IsNear("loss", "post"));
  EXPECT_FALSE(IsNear("q", "k"));
  EXPECT_FALSE(IsNear("progress", "pos"));
  EXPECT_FALSE(IsNear("temperature", "max-tokens"));
}

}  // namespace
}  // namespace hookwire::model
