// What a request costs: bounds of work and memory, and that planning stops when it is told to.

#include "server/plan/request_cost.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/plan/name_matcher.h"
#include "server/plan/planner.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {
namespace {

class RequestCostTest : public ::testing::Test {
 protected:
  static v1::RunSpec Spec(int sequences, const std::string& hook) {
    v1::RunSpec spec;
    for (int s = 0; s < sequences; ++s) spec.add_sequences()->add_token_ids(2);
    spec.add_captures()->set_hook(hook);
    return spec;
  }
  uint64_t Held(const v1::RunSpec& spec) { return HeldBytes(**planner_.Plan(spec)); }

  const model::TextModel& model_ = hookwire::testing::TinyModel();
  const Planner planner_{model_, Limits()};
};

TEST_F(RequestCostTest, WorkGrowsWithFiltersMatchesAndSequences) {
  const auto names = static_cast<uint64_t>(model_.catalogue().size());
  EXPECT_EQ(PlanningWork(Spec(1, "blocks.0.hook_out"), model_.catalogue()), 1 + 1 + names + 1);
  EXPECT_EQ(PlanningWork(Spec(10, "**"), model_.catalogue()), 10 + 10 + names + names * 10);
  v1::RunSpec indices = Spec(2, "blocks.0.hook_out");
  for (int i = 0; i < 7; ++i) {
    indices.mutable_captures(0)->mutable_features()->mutable_indices()->add_values(i);
  }
  EXPECT_EQ(PlanningWork(indices, model_.catalogue()), 2 + 2 + names + 2 * 7 + 2);
}

TEST_F(RequestCostTest, EachTensorCountsAKibibyte) {
  const uint64_t one = Held(Spec(1, "blocks.0.hook_out"));
  const uint64_t many = Held(Spec(100, "blocks.0.hook_out"));
  EXPECT_GE(many - one, 99u * 1024);
  EXPECT_LE(many - one, 99u * 1200);
}

TEST_F(RequestCostTest, AValueCountsOnceHoweverManyHookPointsTakeIt) {
  v1::RunSpec spec = Spec(1, "**");
  v1::Intervention& set = *spec.add_interventions();
  set.set_hook("blocks.*.hook_out");
  set.mutable_set()->mutable_value()->set_scalar(0);
  const uint64_t with_scalar = Held(spec);
  v1::TensorValue& tensor = *set.mutable_set()->mutable_value()->mutable_tensor();
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.add_shape(32);
  tensor.set_data(std::string(32 * 4, '\0'));
  EXPECT_EQ(Held(spec) - with_scalar, 32u * 4);
  EXPECT_EQ(ValueBytes(spec, at::kFloat), 32u * 4);
  EXPECT_EQ(ValueBytes(spec, at::kBFloat16), 32u * 2);
}

TEST_F(RequestCostTest, AnUploadCountsBeforeItComesEvenWithAShapeOfAnySize) {
  v1::RunSpec spec = Spec(1, "**");
  v1::Intervention& set = *spec.add_interventions();
  set.set_hook("blocks.0.hook_out");
  v1::UploadedValue& upload = *set.mutable_set()->mutable_value()->mutable_upload();
  upload.set_dtype(v1::DTYPE_BFLOAT16);
  upload.add_shape(1000);
  upload.add_shape(1000);
  EXPECT_EQ(ValueBytes(spec, at::kFloat), 4'000'000u);
  for (int i = 0; i < 10; ++i) upload.add_shape(1'000'000'000);
  EXPECT_GT(ValueBytes(spec, at::kFloat), uint64_t{1} << 60);
}

TEST_F(RequestCostTest, PlanningEndsAtTheStepWhereItIsToldTo) {
  v1::RunSpec spec = Spec(1, "blocks.0.hook_out");
  for (int i = 0; i < 1000; ++i) spec.add_captures()->set_hook("blocks.*.hook_out");
  int asked = 0;
  const auto plan = planner_.Plan(spec, Planner::Client::kListens, [&asked] {
    return ++asked < 10 ? absl::OkStatus() : absl::CancelledError("enough");
  });
  EXPECT_EQ(plan.status(), absl::CancelledError("enough"));
  EXPECT_EQ(asked, 10);
}

TEST_F(RequestCostTest, ARunHasSoManyEntries) {
  Limits limits;
  limits.max_entries = 3;
  const Planner planner(model_, limits);
  v1::RunSpec spec = Spec(1, "blocks.0.hook_out");
  for (int i = 0; i < 2; ++i) spec.add_captures()->set_hook("blocks.0.hook_out");
  EXPECT_TRUE(planner.Plan(spec).ok());
  spec.add_captures()->set_hook("blocks.0.hook_out");
  const absl::Status captures = planner.Plan(spec).status();
  EXPECT_EQ(captures.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailsOf(captures).reason, v1::ERROR_REASON_TOO_MANY_ENTRIES);
  EXPECT_EQ(DetailsOf(captures).field, "spec.captures");

  spec = Spec(1, "blocks.0.hook_out");
  for (int i = 0; i < 4; ++i) {
    spec.add_interventions()->set_hook("blocks.0.hook_out");
    spec.mutable_interventions(i)->mutable_zero();
  }
  EXPECT_EQ(DetailsOf(planner.Plan(spec).status()).field, "spec.interventions");
}

TEST_F(RequestCostTest, AFilterIsComparedWithTheCatalogueOnce) {
  NameMatcher names(model_.catalogue());
  const auto first = names.Match("blocks.*.hook_out");
  ASSERT_TRUE(first->ok());
  EXPECT_FALSE((*first)->empty());
  EXPECT_EQ(names.Match("blocks.*.hook_out"), first);
  const auto none = names.Match("blocks.*.hook_nothing");
  EXPECT_FALSE(none->ok());
  EXPECT_EQ(names.Match("blocks.*.hook_nothing"), none);
}

}  // namespace
}  // namespace hookwire::server
