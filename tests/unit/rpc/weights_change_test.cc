// What calls end with once the weight files have changed.

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>

#include "tests/unit/rpc/service_fixture.h"

namespace hookwire::server {
namespace {

constexpr char kReason[] = "WEIGHTS_CHANGED";

class WeightsChangeTest : public ServiceTest {
 protected:
  WeightsChangeTest() {
    settings_.change = [this]() -> std::optional<model::FileChange> {
      if (!changed_) return std::nullopt;
      return model::FileChange{"model.safetensors", "size 10 → 5 bytes"};
    };
  }

  std::atomic<bool> changed_ = false;
  Settings settings_;
};

TEST_F(WeightsChangeTest, RunsAreRefused) {
  StartServer(settings_);
  ExpectThatAGoodRunWorks();
  changed_ = true;
  for (int i = 0; i < 2; ++i) {
    const Result result = Run(GoodRequest());
    EXPECT_EQ(result.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(ReasonOf(result.status), kReason);
    EXPECT_THAT(result.status.error_message(),
                ::testing::HasSubstr("model.safetensors: size 10 → 5 bytes"));
    EXPECT_EQ(result.messages, 0);
  }
}

TEST_F(WeightsChangeTest, ARunMeanwhileGetsNoReceipt) {
  settings_.execute = [this](const RunPlan&, RunOutput&) {
    changed_ = true;
    return ExecutionReport();
  };
  StartServer(settings_);
  const Result result = Run(GoodRequest());
  EXPECT_EQ(ReasonOf(result.status), kReason);
  EXPECT_TRUE(result.receipt.run_id().empty());
}

TEST_F(WeightsChangeTest, ARunMeanwhileEndsBetweenLayers) {
  std::atomic<int> layers = 0;
  settings_.execute = [&](const RunPlan&, RunOutput& output) -> absl::StatusOr<ExecutionReport> {
    while (layers < 10) {
      if (absl::Status status = output.Progress(++layers); !status.ok()) return status;
      if (layers < 3) continue;
      changed_ = true;
      EXPECT_FALSE(parts_->guard.Check().ok());  // as the watch does
    }
    return ExecutionReport();
  };
  StartServer(settings_);
  const Result result = Run(GoodRequest());
  EXPECT_EQ(ReasonOf(result.status), kReason);
  EXPECT_TRUE(result.receipt.run_id().empty());
  EXPECT_EQ(layers, 4);
}

TEST_F(WeightsChangeTest, WeightsAreNotHandedOut) {
  StartServer(settings_);
  changed_ = true;
  v1::GetWeightRequest request;
  request.set_name("embed.weight");
  grpc::ClientContext context;
  const auto reader = stub_->GetWeight(&context, request);
  v1::GetWeightResponse response;
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(ReasonOf(reader->Finish()), kReason);
}

TEST_F(WeightsChangeTest, AWeightThatIsOnItsWayIsNotCalledWhole) {
  // More than transport and reader hold.
  const model::Parameters parameters(hookwire::testing::TinyModel().config(),
                                     {{"large", at::zeros({64, 1 << 20}, at::kByte)}});
  settings_.parameters = &parameters;
  StartServer(settings_);
  v1::GetWeightRequest request;
  request.set_name("large");
  grpc::ClientContext context;
  const auto reader = stub_->GetWeight(&context, request);
  v1::GetWeightResponse response;
  ASSERT_TRUE(reader->Read(&response));
  changed_ = true;
  uint64_t bytes = response.data().size();
  while (reader->Read(&response)) bytes += response.data().size();
  EXPECT_EQ(ReasonOf(reader->Finish()), kReason);
  EXPECT_LT(bytes, parameters.Find("large")->nbytes());
}

}  // namespace
}  // namespace hookwire::server
