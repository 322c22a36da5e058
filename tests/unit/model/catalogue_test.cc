#include "model/adapter/catalogue.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/edited_config.h"
#include "tests/unit/model/expected_hooks.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::AxesText;
using ::hookwire::testing::ExpectedHook;
using ::hookwire::testing::ExpectedHooks;
using ::hookwire::testing::MustParse;
using ::hookwire::testing::TextOnlyConfig;
using ::hookwire::testing::TinyConfig;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::testing::HasSubstr;

// One config of every kind of model.
struct Kind {
  const char* name;
  TinyOptions options;
};

TinyOptions Options(TinyVariant variant, const std::string& layers) {
  TinyOptions options;
  options.variant = variant;
  options.layers = layers;
  return options;
}

const Kind kKinds[] = {
    {"EType", Options(TinyVariant::kEType, "ssfssfssf")},
    {"Dense", Options(TinyVariant::kDense, "ssfsf")},
    {"Moe", Options(TinyVariant::kMoe, "ssfsf")},
    {"Unified", Options(TinyVariant::kUnified, "ssfsf")},
    {"FullLayersOnly", Options(TinyVariant::kDense, "ff")},
};

class CatalogueOf : public ::testing::TestWithParam<Kind> {
 protected:
  const Config config_ = TinyConfig(GetParam().options);
  const Catalogue catalogue_{config_};
};

TEST_P(CatalogueOf, HasEveryHookPointOfTheSpecificationAndNoOther) {
  const std::vector<ExpectedHook> expected = ExpectedHooks(config_);
  std::set<std::string> names;
  for (const ExpectedHook& hook : expected) {
    names.insert(hook.name);
    const auto id = catalogue_.Find(hook.name);
    ASSERT_TRUE(id.ok()) << id.status();
    const HookPoint& point = catalogue_.point(*id);
    EXPECT_EQ(point.name, hook.name);
    EXPECT_EQ(AxesText(point.axes), hook.axes) << hook.name;
    EXPECT_EQ(point.aliases, hook.aliases) << hook.name;
    EXPECT_EQ(point.dtype, hook.dtype) << hook.name;
    EXPECT_EQ(point.writable, hook.writable) << hook.name;
    EXPECT_EQ(point.read_only_reason.empty(), hook.writable) << hook.name;
    EXPECT_EQ(point.module, hook.module) << hook.name;
    for (const std::string& alias : hook.aliases) {
      const auto by_alias = catalogue_.Find(alias);
      ASSERT_TRUE(by_alias.ok()) << by_alias.status();
      EXPECT_EQ(*by_alias, *id) << alias;
    }
  }
  for (const HookPoint& point : catalogue_.points()) {
    EXPECT_TRUE(names.count(point.name)) << point.name << " is not in the specification";
  }
  EXPECT_EQ(catalogue_.size(), static_cast<int>(expected.size()));
}

TEST_P(CatalogueOf, AxisKindsSayWhatPositionsHeadsAndFeaturesAre) {
  const std::map<std::string, AxisKind> kinds = {{"pos", AxisKind::kPosition},
                                                 {"key_pos", AxisKind::kKeyPosition},
                                                 {"head", AxisKind::kHead},
                                                 {"key_value_head", AxisKind::kKeyValueHead}};
  for (const HookPoint& point : catalogue_.points()) {
    for (const Axis& axis : point.axes) {
      const auto it = kinds.find(std::string(axis.name));
      EXPECT_EQ(axis.kind, it == kinds.end() ? AxisKind::kFeature : it->second)
          << point.name << " " << axis.name;
    }
  }
}

TEST_P(CatalogueOf, IdsAreDenseAndSitesLeadToThem) {
  int expected = 0;
  for (const HookPoint& point : catalogue_.points()) {
    EXPECT_EQ(point.id, expected++);
    EXPECT_EQ(&catalogue_.point(point.id), &point);
    EXPECT_EQ(catalogue_.id(point.site, point.layer), point.id) << point.name;
  }
  // And no site leads anywhere else.
  int found = 0;
  for (int layer = -1; layer < config_.n_layers(); ++layer) {
    for (int site = 0; site < static_cast<int>(Site::kCount); ++site) {
      const HookId id = catalogue_.id(static_cast<Site>(site), layer);
      if (id == kNoHook) continue;
      ++found;
      EXPECT_EQ(catalogue_.point(id).site, static_cast<Site>(site));
      EXPECT_EQ(catalogue_.point(id).layer, layer);
    }
  }
  EXPECT_EQ(found, catalogue_.size());
}

TEST_P(CatalogueOf, NamesAreUnique) {
  std::set<std::string> names;
  for (const HookPoint& point : catalogue_.points()) {
    EXPECT_TRUE(names.insert(point.name).second) << point.name;
    for (const std::string& alias : point.aliases) {
      EXPECT_TRUE(names.insert(alias).second) << alias;
    }
  }
}

TEST_P(CatalogueOf, IdsFollowTheLayersAndSayHowManyMustRun) {
  int before = 0;
  for (const HookPoint& point : catalogue_.points()) {
    const int position = point.after_blocks ? config_.n_layers() + 1 : point.layer + 1;
    EXPECT_GE(position, before) << point.name;
    before = position;
    EXPECT_EQ(point.layers_needed, point.after_blocks ? config_.n_layers() : point.layer + 1)
        << point.name;
  }
  for (const char* name : {"ln_final.hook_in", "unembed.hook_out", "hook_logits"}) {
    EXPECT_TRUE(catalogue_.point(*catalogue_.Find(name)).after_blocks) << name;
  }
  EXPECT_EQ(catalogue_.point(*catalogue_.Find("embed.hook_out")).layers_needed, 0);
  EXPECT_EQ(catalogue_.point(*catalogue_.Find("blocks.1.hook_out")).layers_needed, 2);
}

INSTANTIATE_TEST_SUITE_P(Every, CatalogueOf, ::testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

TEST(Catalogue, WhatCannotBeWrittenSaysWhatToWriteInstead) {
  const Catalogue catalogue(TinyConfig(Options(TinyVariant::kMoe, "sf")));
  const auto reason = [&catalogue](const char* name) {
    return catalogue.point(*catalogue.Find(name)).read_only_reason;
  };
  EXPECT_THAT(reason("embed.hook_in"), HasSubstr("embed.hook_out"));
  EXPECT_THAT(reason("rotary_emb.full_attention.hook_in"), HasSubstr("hook_cos and hook_sin"));
  EXPECT_THAT(reason("blocks.0.router.hook_indices"), HasSubstr("router.hook_out"));
}

TEST(Catalogue, ModulesOfTextOnlyCheckpointsLieUnderModel) {
  const Config config = MustParse(TextOnlyConfig({}));
  const Catalogue catalogue(config);
  for (const ExpectedHook& hook : ExpectedHooks(config)) {
    EXPECT_EQ(catalogue.point(*catalogue.Find(hook.name)).module, hook.module) << hook.name;
  }
  EXPECT_EQ(catalogue.point(*catalogue.Find("blocks.3.attn.q.hook_out")).module,
            "model.layers.3.self_attn.q_proj");
}

}  // namespace
}  // namespace hookwire::model
