// Interventions whose value a client makes.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/execute/executor.h"
#include "server/plan/planner.h"
#include "tests/unit/execute/recording_output.h"
#include "tests/unit/support/run_specs.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {
namespace {

using hookwire::testing::RecordingOutput;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using ::testing::HasSubstr;

// A client that answers at once: `answer` makes of each tensor that came another, or none.
class Client final : public hookwire::testing::BareOutput {
 public:
  explicit Client(std::function<at::Tensor(const at::Tensor&)> answer)
      : answer_(std::move(answer)) {}

  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> waits) override {
    return output.Emit(index, offset, std::move(tensor), waits);
  }
  absl::Status Progress(int layers_done) override { return output.Progress(layers_done); }
  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan& op, absl::FunctionRef<absl::Status()> /*keep_waiting*/) override {
    ++asked;
    std::vector<at::Tensor> answers;
    for (const TensorPlan& tensor : op.tensors) {
      answers.push_back(answer_(output.tensors.at(tensor.index)));
    }
    return answers;
  }

  RecordingOutput output;
  int asked = 0;

 private:
  std::function<at::Tensor(const at::Tensor&)> answer_;
};

std::shared_ptr<const RunPlan> PlanOf(const std::string& text) {
  auto plan = Planner(TinyModel(), Limits()).Plan(Spec(text), Planner::Client::kAnswers);
  if (!plan.ok()) throw std::runtime_error(plan.status().ToString());
  return *std::move(plan);
}

absl::StatusOr<ExecutionReport> Execute(const RunPlan& plan, Client& client) {
  return Executor(TinyModel(), {.numerics = model::Numerics::kReference}).Execute(plan, client);
}

// What `with` (ops as data) makes of the last tensors of the result.
void ExpectSameLogits(const Client& client, const RunPlan& plan, const std::string& with) {
  const auto expected =
      RunToEnd(Spec(with), TinyModel(), {.numerics = model::Numerics::kReference});
  for (const OutputPlan& output : plan.outputs) {
    for (size_t s = 0; s < output.tensors.size(); ++s) {
      const uint32_t index = expected.plan->outputs[0].tensors[s].index;
      EXPECT_TRUE(at::equal(client.output.copies.at(output.tensors[s].index), expected[index]))
          << s;
    }
  }
  // Nothing that was sent has been written to afterwards.
  for (const auto& [index, copy] : client.output.copies) {
    EXPECT_TRUE(at::equal(client.output.tensors.at(index), copy)) << index;
  }
}

TEST(Callback, ReplacesWhatLaterReadersSee) {
  const auto plan =
      PlanOf("interventions { hook: 'blocks.1.hook_out' callback {} } outputs { logits {} }");
  Client client([](const at::Tensor& x) { return x * 2; });
  ASSERT_TRUE(Execute(*plan, client).ok());
  EXPECT_EQ(client.asked, 1);
  ExpectSameLogits(client, *plan,
                   "interventions { hook: 'blocks.1.hook_out' scale { factor { scalar: 2 } } } "
                   "outputs { logits {} }");
}

TEST(Callback, TakesItsTurnAmongOps) {
  const auto plan = PlanOf(R"pb(
    interventions {
      hook: "blocks.1.hook_out"
      add { value { scalar: 1 } }
    }
    interventions {
      hook: "blocks.1.hook_out"
      sequences: 1
      callback {}
    }
    interventions {
      hook: "blocks.1.hook_out"
      add { value { scalar: 0.25 } }
    }
    interventions {
      hook: "blocks.1.hook_out"
      callback {}
    }
    outputs { logits {} }
  )pb");
  Client client([](const at::Tensor& x) { return x * -0.5; });
  ASSERT_TRUE(Execute(*plan, client).ok());
  EXPECT_EQ(client.asked, 2);
  ExpectSameLogits(client, *plan, R"pb(
    interventions {
      hook: "blocks.1.hook_out"
      add { value { scalar: 1 } }
    }
    interventions {
      hook: "blocks.1.hook_out"
      sequences: 1
      scale { factor { scalar: -0.5 } }
    }
    interventions {
      hook: "blocks.1.hook_out"
      add { value { scalar: 0.25 } }
    }
    interventions {
      hook: "blocks.1.hook_out"
      scale { factor { scalar: -0.5 } }
    }
    outputs { logits {} }
  )pb");
}

TEST(Callback, SeesAndChangesOnlyWhatItSelects) {
  const auto plan = PlanOf(R"pb(
    interventions {
      hook: "blocks.1.attn.hook_pattern"
      sequences: 0
      positions { indices { values: [ 4, 1 ] } }
      heads { indices { values: 1 } }
      callback {}
    }
    outputs { logits {} }
  )pb");
  Client client([](const at::Tensor& x) {
    EXPECT_EQ(x.sizes(), at::IntArrayRef({1, 2, 5}));
    return x * 0.5;
  });
  ASSERT_TRUE(Execute(*plan, client).ok());
  ExpectSameLogits(client, *plan, R"pb(
    interventions {
      hook: "blocks.1.attn.hook_pattern"
      sequences: 0
      positions { indices { values: [ 4, 1 ] } }
      heads { indices { values: 1 } }
      scale { factor { scalar: 0.5 } }
    }
    outputs { logits {} }
  )pb");
}

TEST(Callback, LeavesTheBitsOfWhatIsKept) {
  const auto plan =
      PlanOf("interventions { hook: 'blocks.*.ln1.hook_scale' callback {} } outputs { logits {} }");
  Client client([](const at::Tensor&) { return at::Tensor(); });
  ASSERT_TRUE(Execute(*plan, client).ok());
  ExpectSameLogits(client, *plan, "outputs { logits {} }");
}

TEST(Callback, MaskedScoresStayMasked) {
  const auto plan = PlanOf(
      "interventions { hook: 'blocks.1.attn.hook_attn_scores' callback {} } outputs { logits {} }");
  Client client([](const at::Tensor& x) { return at::zeros_like(x); });
  ASSERT_TRUE(Execute(*plan, client).ok());
  ExpectSameLogits(client, *plan,
                   "interventions { hook: 'blocks.1.attn.hook_attn_scores' zero {} } "
                   "outputs { logits {} }");
}

TEST(Callback, KeepsItsSequencesInOnePass) {
  const auto plan =
      PlanOf("interventions { hook: 'blocks.1.hook_out' callback {} } outputs { logits {} }");
  Client client([](const at::Tensor& x) { return x * 2; });
  ASSERT_TRUE(Executor(TinyModel(), {.max_batch_tokens = 1}).Execute(*plan, client).ok());
  EXPECT_EQ(client.asked, 1);
}

TEST(Callback, WhoOnlyLooksIsNotAsked) {
  const auto plan = PlanOf(R"pb(
    interventions {
      hook: "embed.hook_in"
      callback { read_only: true }
    }
    interventions {
      hook: "blocks.2.hook_out"
      callback { read_only: true }
    }
  )pb");
  EXPECT_FALSE(plan->waits_for_client());
  EXPECT_EQ(plan->n_layers_run, 3);
  Client client([](const at::Tensor& x) { return x; });
  ASSERT_TRUE(Execute(*plan, client).ok());
  EXPECT_EQ(client.asked, 0);
  EXPECT_EQ(client.output.tensors.size(), 4u);
}

TEST(Callback, MayNotBringInWhatIsNotFinite) {
  const std::string text =
      "interventions { hook: 'blocks.1.hook_out' callback {} } outputs { logits {} }";
  Client client([](const at::Tensor& x) { return x / 0; });
  hookwire::testing::ExpectRefused(
      Execute(*PlanOf(text), client).status(),
      {v1::ERROR_REASON_VALUE_NOT_FINITE, "spec.interventions[0].callback", "blocks.1.hook_out"});
  Client allowed([](const at::Tensor& x) { return x / 0; });
  EXPECT_TRUE(Execute(*PlanOf(text + " allow_non_finite: true"), allowed).ok());
}

TEST(Callback, ASinkThatCannotAnswerIsAnError) {
  RecordingOutput output;
  const auto plan =
      PlanOf("interventions { hook: 'blocks.1.hook_out' callback {} } outputs { logits {} }");
  EXPECT_THAT(std::string(Executor(TinyModel(), {}).Execute(*plan, output).status().message()),
              HasSubstr("cannot answer"));
}

}  // namespace
}  // namespace hookwire::server
