// Runs that do not end well.
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/execute/recording_output.h"

namespace hookwire::server {
namespace {

using hookwire::testing::MustPlan;
using hookwire::testing::RecordingOutput;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

absl::Status Try(const RunPlan& plan, RecordingOutput& output) {
  return Executor(TinyModel(), {}).Execute(plan, output).status();
}

// Two tensors at each of three places, and logits.
v1::RunSpec EightTensors() {
  return Spec(R"pb(
    captures { hook: "hook_embed" }
    captures { hook: "blocks.1.hook_out" }
    captures { hook: "blocks.3.hook_out" }
    outputs { logits {} }
  )pb");
}

void ExpectReason(const absl::Status& status, v1::ErrorReason reason, const std::string& message) {
  EXPECT_EQ(v1::ErrorReason_Name(DetailsOf(status).reason), v1::ErrorReason_Name(reason));
  EXPECT_EQ(status.code(), CodeOf(reason));
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(Execute, EndsWithTheStatusOfASinkThatRefuses) {
  for (const uint32_t last : {0u, 3u, 6u}) {
    RecordingOutput output;
    output.on_emit = [last](uint32_t index) {
      return index == last ? absl::CancelledError("the client is gone") : absl::OkStatus();
    };
    const absl::Status status = Try(*MustPlan(EightTensors()), output);
    EXPECT_EQ(status, absl::CancelledError("the client is gone"));
    EXPECT_THAT(output.order, SizeIs(last + 1));
  }
}

TEST(Execute, EndsBetweenLayersOnRequest) {
  RecordingOutput output;
  output.on_progress = [](int layers_done) {
    return layers_done == 3 ? absl::DeadlineExceededError("late") : absl::OkStatus();
  };
  EXPECT_EQ(Try(*MustPlan(EightTensors()), output), absl::DeadlineExceededError("late"));
  EXPECT_THAT(output.progress, ElementsAre(1, 2, 3));
  EXPECT_THAT(output.order, SizeIs(4));
}

TEST(Execute, LetsNoExceptionEscape) {
  // Within the pass, and after it.
  for (const uint32_t last : {2u, 7u}) {
    RecordingOutput output;
    output.on_emit = [last](uint32_t index) -> absl::Status {
      if (index == last) throw std::runtime_error("something broke");
      return absl::OkStatus();
    };
    ExpectReason(Try(*MustPlan(EightTensors()), output), v1::ERROR_REASON_INTERNAL,
                 "something broke");
  }
}

TEST(Execute, TellsWhenMemoryIsOut) {
  for (const uint32_t last : {2u, 7u}) {
    RecordingOutput output;
    output.on_emit = [last](uint32_t index) -> absl::Status {
      if (index == last) throw std::bad_alloc();
      return absl::OkStatus();
    };
    ExpectReason(Try(*MustPlan(EightTensors()), output), v1::ERROR_REASON_OUT_OF_MEMORY,
                 "ask for fewer sequences");
  }
}

TEST(Execute, WorksAgainAfterAFailure) {
  const auto plan = MustPlan(EightTensors());
  RecordingOutput refusing;
  refusing.on_emit = [](uint32_t) { return absl::CancelledError("no"); };
  EXPECT_FALSE(Try(*plan, refusing).ok());
  RecordingOutput output;
  EXPECT_TRUE(Try(*plan, output).ok());
  EXPECT_THAT(output.tensors, SizeIs(8));
}

TEST(Execute, RefusesToSucceedWhereAnInterventionDidNotRun) {
  RunPlan plan = *MustPlan(Spec(R"pb(
    captures { hook: "hook_embed" }
    captures { hook: "blocks.3.hook_out" }
    interventions {
      hook: "hook_embed"
      zero {}
    }
    interventions {
      hook: "blocks.3.hook_in"
      zero {}
    }
  )pb"));
  plan.n_layers_run = 3;  // as a planner that is wrong would say
  RecordingOutput output;
  ExpectReason(Try(plan, output), v1::ERROR_REASON_INTERNAL,
               "intervention 1 did not run: the pass did not come to blocks.3.hook_in");
}

TEST(Execute, RefusesToSucceedWhereATensorWasNotMade) {
  RunPlan plan = *MustPlan(Spec("captures { hook: 'blocks.3.hook_out' }"));
  plan.n_layers_run = 3;
  RecordingOutput output;
  ExpectReason(Try(plan, output), v1::ERROR_REASON_INTERNAL, "tensor 0 of the plan was not made");
}

TEST(Execute, RefusesToEmitAnotherShapeThanPlanned) {
  RunPlan plan = *MustPlan(Spec("captures { hook: 'hook_embed' }"));
  plan.captures[0].tensors[0].shape[0] = 4;
  RecordingOutput output;
  ExpectReason(Try(plan, output), v1::ERROR_REASON_INTERNAL, "another shape than planned");
}

TEST(Execute, RefusesToEmitATensorTwice) {
  RunPlan plan = *MustPlan(Spec("captures { hook: 'hook_embed' }"));
  plan.captures[0].tensors[1].index = 0;
  RecordingOutput output;
  ExpectReason(Try(plan, output), v1::ERROR_REASON_INTERNAL, "made twice");
}

}  // namespace
}  // namespace hookwire::server
