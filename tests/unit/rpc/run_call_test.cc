// What becomes of a run whose reader is slow, leaves or never comes, and of runs at shutdown. The
// executor is replaced by one that does what the test says.

#include "server/rpc/run_call.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "server/errors/status_macros.h"
#include "server/local/shared_memory.h"
#include "tests/unit/local/shared_client.h"
#include "tests/unit/rpc/service_fixture.h"

namespace hookwire::server {
namespace {

constexpr int64_t kLarge = 8 << 20;

class RunCallTest : public ServiceTest {
 protected:
  // Without captures, for executors that emit what no plan has.
  static v1::RunRequest BareRequest() {
    v1::RunRequest request = GoodRequest();
    request.mutable_spec()->clear_captures();
    return request;
  }

  // Emits large tensors until the output fails.
  absl::StatusOr<ExecutionReport> EmitForEver(RunOutput& output) {
    started_.Notify();
    for (uint32_t i = 0;; ++i) {
      const absl::Status status = output.Emit(i, 0, at::zeros({kLarge}, at::kByte), [](bool) {});
      if (!status.ok()) {
        failure_ = status;
        failed_.Notify();
        return status;
      }
    }
  }

  // Holds the worker until the test lets it go on, or the output fails.
  absl::StatusOr<ExecutionReport> Hold(RunOutput& output) {
    if (!started_.HasBeenNotified()) started_.Notify();
    while (!go_on_.WaitForNotificationWithTimeout(absl::Milliseconds(1))) {
      if (absl::Status status = output.Progress(1); !status.ok()) return status;
    }
    return ExecutionReport{};
  }

  Settings EmittingForEver() {
    return {.budget = 4 * kLarge,
            .directory = "",
            .execute = [this](const RunPlan&, RunOutput& output) { return EmitForEver(output); }};
  }

  Settings Holding(size_t max_queue = 4) {
    return {.max_queue = max_queue,
            .directory = "",
            .execute = [this](const RunPlan&, RunOutput& output) { return Hold(output); }};
  }

  absl::Notification started_;
  absl::Notification go_on_;
  absl::Notification failed_;
  absl::Status failure_;
};

TEST_F(RunCallTest, AClientThatCancelsEndsItsRunAndFreesItsMemory) {
  StartServer(EmittingForEver());
  grpc::ClientContext context;
  const auto reader = stub_->Run(&context, BareRequest());
  v1::RunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_TRUE(response.has_accepted());
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_TRUE(response.has_tensors());
  context.TryCancel();
  failed_.WaitForNotification();
  EXPECT_TRUE(absl::IsCancelled(failure_)) << failure_;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // TearDown checks the memory.
}

TEST_F(RunCallTest, AReaderThatDoesNotReadHoldsNoMoreThanTheBudget) {
  StartServer(EmittingForEver());
  grpc::ClientContext context;
  const auto reader = stub_->Run(&context, BareRequest());
  started_.WaitForNotification();
  EXPECT_FALSE(failed_.WaitForNotificationWithTimeout(absl::Milliseconds(200)));
  EXPECT_LE(parts_->budget->peak(), static_cast<uint64_t>(4 * kLarge));
  context.TryCancel();
  failed_.WaitForNotification();
}

TEST_F(RunCallTest, AReaderThatStandsStillIsGivenUpAndToldSo) {
  Settings settings = EmittingForEver();
  settings.stall_timeout = absl::Milliseconds(200);
  StartServer(settings);
  grpc::ClientContext context;
  const auto reader = stub_->Run(&context, BareRequest());
  failed_.WaitForNotification();
  EXPECT_TRUE(absl::IsDeadlineExceeded(failure_)) << failure_;
  v1::RunResponse response;
  while (reader->Read(&response)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("read nothing"));
}

TEST_F(RunCallTest, ADeadlineOfTheClientEndsTheRun) {
  StartServer(EmittingForEver());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  const auto reader = stub_->Run(&context, BareRequest());
  failed_.WaitForNotification();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(RunCallTest, AFullQueueIsToldWithWhenToTryAgain) {
  StartServer(Holding(/*max_queue=*/1));
  grpc::ClientContext first_context;
  const auto first = stub_->Run(&first_context, GoodRequest());
  started_.WaitForNotification();
  grpc::ClientContext second_context;
  const auto second = stub_->Run(&second_context, GoodRequest());
  v1::RunResponse response;
  ASSERT_TRUE(second->Read(&response));
  EXPECT_EQ(response.accepted().queue_position(), 1u);

  const Result third = Run(GoodRequest());
  EXPECT_EQ(third.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(third.status), "QUEUE_FULL");
  EXPECT_THAT(third.status.error_details(), ::testing::HasSubstr("google.rpc.RetryInfo"));

  // Who leaves the queue makes room at once.
  second_context.TryCancel();
  EXPECT_EQ(second->Finish().error_code(), grpc::StatusCode::CANCELLED);
  go_on_.Notify();
  while (first->Read(&response)) {
  }
  EXPECT_TRUE(first->Finish().ok());
}

TEST_F(RunCallTest, ManyWhoLeaveTheQueueLeaveNothingBehind) {
  StartServer(Holding(/*max_queue=*/8));
  grpc::ClientContext first_context;
  const auto first = stub_->Run(&first_context, GoodRequest());
  started_.WaitForNotification();
  for (int i = 0; i < 50; ++i) {
    grpc::ClientContext context;
    const auto reader = stub_->Run(&context, GoodRequest());
    v1::RunResponse response;
    // With places for eight, one that stayed behind would soon be noticed. The place is free before
    // the client can ask again, but gRPC may tell us a little later than the client.
    if (!reader->Read(&response)) {
      EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
      std::this_thread::yield();
      continue;
    }
    context.TryCancel();
    reader->Finish();
  }
  const absl::Time end = absl::Now() + absl::Seconds(30);
  bool accepted = false;
  while (!accepted && absl::Now() < end) {
    grpc::ClientContext context;
    const auto reader = stub_->Run(&context, GoodRequest());
    v1::RunResponse response;
    accepted = reader->Read(&response) && response.accepted().queue_position() == 1;
    context.TryCancel();
    reader->Finish();
  }
  EXPECT_TRUE(accepted);
  go_on_.Notify();
}

TEST_F(RunCallTest, DrainRefusesNewRunsAndLetsTheRunningOneEnd) {
  StartServer(Holding());
  grpc::ClientContext context;
  const auto running = stub_->Run(&context, GoodRequest());
  started_.WaitForNotification();
  parts_->scheduler.Drain();
  const Result refused = Run(GoodRequest());
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(refused.status), "SHUTTING_DOWN");
  go_on_.Notify();
  v1::RunResponse response;
  bool has_receipt = false;
  while (running->Read(&response)) has_receipt = response.has_receipt();
  EXPECT_TRUE(running->Finish().ok());
  EXPECT_TRUE(has_receipt);
}

TEST_F(RunCallTest, AbandoningTellsARunningRunThatTheServerEnds) {
  StartServer(Holding());
  grpc::ClientContext context;
  const auto running = stub_->Run(&context, GoodRequest());
  started_.WaitForNotification();
  parts_->streams.AbandonAll(absl::UnavailableError("the server is shutting down"));
  v1::RunResponse response;
  while (running->Read(&response)) {
  }
  const grpc::Status status = running->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the server is shutting down");
}

TEST_F(RunCallTest, AFailureOfTheExecutorReachesTheClient) {
  StartServer({.directory = "", .execute = [](const RunPlan&, RunOutput&) {
                 return absl::StatusOr<ExecutionReport>(absl::InternalError("it broke"));
               }});
  const Result result = Run(GoodRequest());
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(result.status.error_message(), "it broke");
  EXPECT_EQ(ReasonOf(result.status), "INTERNAL");
}

TEST_F(RunCallTest, ALargeResultArrivesWhole) {
  StartServer({.budget = kLarge, .directory = "", .execute = [](const RunPlan&, RunOutput& output) {
                 for (uint32_t i = 0; i < 10; ++i) {
                   at::Tensor tensor = at::full({kLarge}, static_cast<int64_t>(i), at::kByte);
                   if (absl::Status status = output.Emit(i, 0, tensor, [](bool) {}); !status.ok()) {
                     return absl::StatusOr<ExecutionReport>(status);
                   }
                 }
                 return absl::StatusOr<ExecutionReport>(ExecutionReport{});
               }});
  const Result result = Run(BareRequest());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.tensors.size(), 10u);
  for (const auto& [index, bytes] : result.tensors) {
    EXPECT_EQ(bytes, std::string(kLarge, static_cast<char>(index)));
  }
}

TEST_F(RunCallTest, WhereSharedMemoryRunsOutASharedPassStillWaitsForNoReader) {
  const RealClock clock;
  auto memory = SharedMemory::Create({.max_bytes = 64u << 20, .min_result_bytes = 1}, clock);
  ASSERT_TRUE(memory.ok()) << memory.status();
  const SharedClient client(**memory);
  int waits = 0;
  int in_messages = 0;
  Settings settings;
  settings.shared_memory = memory->get();
  settings.budget = 1 << 20;
  settings.paced = 1 << 16;  // 8 bytes without a reservation
  settings.execute = [&](const RunPlan& plan,
                         RunOutput& output) -> absl::StatusOr<ExecutionReport> {
    for (const CapturePlan& capture : plan.captures) {
      for (const TensorPlan& tensor : capture.tensors) {
        at::Tensor values = at::ones(tensor.shape, capture.dtype);
        // As if the system refused memory for every other tensor.
        if (tensor.index % 2 == 0) {
          uint8_t* const buffer = output.Buffer(tensor.index, 0, tensor.bytes);
          values = at::from_blob(buffer, values.sizes(), values.options()).copy_(values);
        } else {
          ++in_messages;
        }
        HOOKWIRE_RETURN_IF_ERROR(output.Emit(tensor.index, 0, std::move(values),
                                             [&](bool begins) { waits += begins ? 1 : 0; }));
      }
    }
    return ExecutionReport{};
  };
  StartServer(settings);
  v1::RunRequest request = GoodRequest();
  request.mutable_spec()->set_shared_memory_token(client.token());
  const Result result = Run(request);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_TRUE(result.accepted.shared_memory());
  EXPECT_GE(in_messages, 2);
  EXPECT_EQ(waits, 0);
}

}  // namespace
}  // namespace hookwire::server
