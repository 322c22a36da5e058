// The bound, held against what the allocator saw.
#include "server/plan/activation_memory.h"

#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "server/execute/executor.h"
#include "tests/unit/support/bare_output.h"
#include "tests/unit/support/run_specs.h"
#include "tests/unit/support/watched_allocator.h"

namespace hookwire::server {
namespace {

using hookwire::testing::BareOutput;
using hookwire::testing::MustPlan;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;
using hookwire::testing::Tokens;
using hookwire::testing::WatchedAllocator;

using Case = std::tuple<TinyVariant, std::string, model::Numerics>;
class ActivationMemory : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(
    Plan, ActivationMemory,
    ::testing::Combine(::testing::Values(TinyVariant::kEType, TinyVariant::kDense,
                                         TinyVariant::kMoe, TinyVariant::kUnified),
                       ::testing::Values("float32", "bfloat16"),
                       ::testing::Values(model::Numerics::kFast, model::Numerics::kReference)));

TEST_P(ActivationMemory, IsBoundedAndNotByFar) {
  const auto& [variant, dtype, numerics] = GetParam();
  const model::TextModel& model = TinyModel(variant, dtype);
  const std::string shapes[] = {Tokens(64), Tokens(64) + Tokens(64) + Tokens(64),
                                Tokens(64) + Tokens(1) + Tokens(33)};
  const std::string wants[] = {
      "captures { hook: 'blocks.1.hook_resid_post' }",
      "outputs { logits {} }",
      "outputs { log_probs {} }",
      "outputs { logits { positions { indices { values: -1 } } } }",
      "captures { hook: 'blocks.1.hook_resid_post' sequences: 0 positions { range { start: 10 "
      "stop: "
      "30 } } } captures { hook: 'blocks.*.hook_resid_mid' positions { indices { values: -1 } } }",
      "captures { hook: '**.hook_pattern' }",
      "captures { hook: 'blocks.1.attn.hook_result' } outputs { logits {} }",
      "captures { hook: 'blocks.1.attn.hook_q_input' } captures { hook: '**.hook_attn_scores' }",
      "captures { hook: '**' } outputs { logits {} }",
      "interventions { hook: 'blocks.0.attn.hook_pattern' zero {} } outputs { logits {} }",
  };
  for (const std::string& shape : shapes) {
    for (const std::string& want : wants) {
      const auto plan = MustPlan(Spec(shape + want), model);
      std::vector<int> all(plan->sequences.size());
      std::iota(all.begin(), all.end(), 0);
      const uint64_t bound = ActivationBytes(model, numerics, *plan, all);
      BareOutput output;
      WatchedAllocator allocator;
      WatchedAllocator::Reset();
      const auto report = Executor(model, {.numerics = numerics}).Execute(*plan, output);
      ASSERT_TRUE(report.ok()) << report.status();
      const uint64_t seen = WatchedAllocator::Peak();
      EXPECT_LE(seen, bound) << want << " for " << shape;
      EXPECT_GE(5 * seen, bound) << want << " for " << shape;
    }
  }
}

}  // namespace
}  // namespace hookwire::server
