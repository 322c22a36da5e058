// Requests that would hold the server's memory or its threads, and parts that throw.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/unit/rpc/service_fixture.h"

namespace hookwire::server {
namespace {

using ::testing::HasSubstr;
using Stream = grpc::ClientReaderWriter<v1::InteractRequest, v1::RunResponse>;

// HealthCheckResponse{status: SERVING}.
constexpr char kServing[] = "\x08\x01";

class HostileRequestsTest : public ServiceTest {
 protected:
  v1::Load Load() {
    grpc::ClientContext context;
    v1::GetModelResponse response;
    EXPECT_TRUE(stub_->GetModel(&context, {}, &response).ok());
    return response.load();
  }

  // A spec with one value of so many bytes that is to be uploaded.
  static v1::InteractRequest WithUpload(uint64_t bytes) {
    v1::InteractRequest message;
    *message.mutable_spec() = GoodRequest().spec();
    v1::Intervention& intervention = *message.mutable_spec()->add_interventions();
    intervention.set_hook("blocks.0.hook_out");
    v1::UploadedValue& upload = *intervention.mutable_set()->mutable_value()->mutable_upload();
    upload.set_dtype(v1::DTYPE_FLOAT32);
    upload.add_shape(bytes / sizeof(float));
    return message;
  }

  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<Stream> stream;

    grpc::Status Finish() {
      v1::RunResponse response;
      while (stream->Read(&response)) {
      }
      return stream->Finish();
    }
  };
  std::unique_ptr<Call> Open() {
    auto call = std::make_unique<Call>();
    call->stream = stub_->Interact(&call->context);
    return call;
  }
};

TEST_F(HostileRequestsTest, DeclaredUploadsAreChargedBeforeTheyComeAndRefusedWithNumbers) {
  constexpr uint64_t kUpload = 16u << 20;
  constexpr uint64_t kSlack = 1u << 20;
  // A run takes its upload, the tensor that is made of it, and room for its messages. A client may
  // have half: two fit.
  constexpr uint64_t kRun = 2 * kUpload + kMaxRequestBytes;
  StartServer({.directory = {},
               .execute = {},
               .max_upload_bytes = kUpload,
               .request_memory = 2 * (2 * kRun + kSlack)});
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 2; ++i) {
    calls.push_back(Open());
    ASSERT_TRUE(calls.back()->stream->Write(WithUpload(kUpload)));
  }
  while (parts_->request_memory->held() < 2 * kRun) std::this_thread::yield();
  for (int i = 0; i < 4; ++i) {
    const auto refused = Open();
    ASSERT_TRUE(refused->stream->Write(WithUpload(kUpload)));
    const grpc::Status status = refused->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonOf(status), "REQUEST_MEMORY_FULL");
    EXPECT_THAT(status.error_details(), HasSubstr("RetryInfo"));
  }
  const uint64_t held = Load().request_bytes();
  EXPECT_GE(held, 2 * kRun);
  EXPECT_LE(held, 2 * kRun + kSlack);
  for (const auto& call : calls) {
    call->context.TryCancel();
    (void)call->Finish();
  }
  ExpectThatAGoodRunWorks();
}

TEST_F(HostileRequestsTest, AnUploadThatNeverFitsIsRefusedAtOnce) {
  StartServer(
      {.directory = {}, .execute = {}, .max_upload_bytes = 64u << 20, .request_memory = 32u << 20});
  const auto call = Open();
  ASSERT_TRUE(call->stream->Write(WithUpload(16u << 20)));
  const grpc::Status status = call->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "REQUEST_MEMORY_FULL");
  // Waiting would not help, so that nothing says when to try again.
  EXPECT_THAT(status.error_details(), ::testing::Not(HasSubstr("RetryInfo")));
  ExpectThatAGoodRunWorks();
}

TEST_F(HostileRequestsTest, AClientThatSendsNothingMoreOfItsRequestIsEnded) {
  StartServer({.stall_timeout = absl::Milliseconds(200), .directory = {}, .execute = {}});
  const auto silent = Open();
  const auto half = Open();
  ASSERT_TRUE(half->stream->Write(WithUpload(1u << 20)));
  for (Call* const call : {silent.get(), half.get()}) {
    const grpc::Status status = call->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
    EXPECT_EQ(ReasonOf(status), "SENDER_STALLED");
  }
  ExpectThatAGoodRunWorks();
}

TEST_F(HostileRequestsTest, ACallThatWaitsForItsTurnIsReadWhenThoseBeforeItEnd) {
  StartServer({.directory = {}, .execute = {}, .max_reads = 2});
  // Half of the reads: one.
  const auto silent = Open();
  while (parts_->call_limit.open() < 1) std::this_thread::yield();
  grpc::ClientContext context;
  v1::GetModelResponse response;
  grpc::Status status;
  std::thread second([&] { status = stub_->GetModel(&context, {}, &response); });
  while (parts_->call_limit.open() < 2) std::this_thread::yield();
  silent->context.TryCancel();
  second.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(silent->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(HostileRequestsTest, ACallThatWaitsForItsTurnCanBeCancelled) {
  StartServer({.directory = {}, .execute = {}, .max_reads = 2});
  const auto silent = Open();
  const auto waiting = Open();
  while (parts_->call_limit.open() < 2) std::this_thread::yield();
  waiting->context.TryCancel();
  EXPECT_EQ(waiting->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (parts_->call_limit.open() > 1) std::this_thread::yield();
  silent->context.TryCancel();
  (void)silent->Finish();
  ExpectThatAGoodRunWorks();
}

TEST_F(HostileRequestsTest, AMessageOfManyEmptyPartsEndsTheCall) {
  StartServer({});
  const auto call = Open();
  ASSERT_TRUE(call->stream->Write(WithUpload(1u << 20)));
  v1::InteractRequest many;
  for (int i = 0; i < 200'000; ++i) many.mutable_upload()->add_chunks();
  call->stream->Write(many);
  const grpc::Status status = call->Finish();
  EXPECT_EQ(ReasonOf(status), "UNEXPECTED_MESSAGE");
  EXPECT_THAT(status.error_message(), HasSubstr("send fewer parts"));
}

TEST_F(HostileRequestsTest, AnUnknownMethodIsCalledSo) {
  StartServer({});
  const auto [status, answer] = CallRaw("/hookwire.v1.ActivationService/Walk", "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("ActivationService/Walk"));
}

TEST_F(HostileRequestsTest, RequestsThatAreNotWholeEndAtShutdown) {
  StartServer({});
  const auto silent = Open();
  const auto half = Open();
  ASSERT_TRUE(half->stream->Write(WithUpload(1u << 20)));
  // An answered call says that those before it on this connection have been seen.
  ExpectThatAGoodRunWorks();
  parts_->requests.AbandonAll(MakeError("over", {v1::ERROR_REASON_SHUTTING_DOWN, "", {}}));
  for (Call* const call : {silent.get(), half.get()}) {
    const grpc::Status status = call->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(ReasonOf(status), "SHUTTING_DOWN");
  }
}

TEST_F(HostileRequestsTest, WhatATensorCostsIsChargedWhileTheRunIsThere) {
  absl::Notification computing;
  absl::Notification go_on;
  StartServer({.directory = {},
               .execute = [&](const RunPlan&, RunOutput&) -> absl::StatusOr<ExecutionReport> {
                 computing.Notify();
                 go_on.WaitForNotification();
                 return absl::CancelledError("enough");
               }});
  std::thread client([this] { Run(GoodRequest()); });
  computing.WaitForNotification();
  // 6 tensors of 1 KiB, and less than 32 KiB besides.
  const uint64_t held = Load().request_bytes();
  EXPECT_GE(held, 6u << 10);
  EXPECT_LE(held, 38u << 10);
  go_on.Notify();
  client.join();
}

TEST_F(HostileRequestsTest, TooManyCallsOfOneClientAreRefused) {
  StartServer({.directory = {}, .execute = {}, .max_calls = 3});
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(Open());
    ASSERT_TRUE(calls.back()->stream->Write(WithUpload(64)));
  }
  const auto wait_for_calls = [this] { return parts_->call_limit.open() >= 3; };
  while (!wait_for_calls()) std::this_thread::yield();
  // Another channel of the same process is the same client.
  grpc::ChannelArguments own;
  own.SetInt("grpc.use_local_subchannel_pool", 1);
  const auto stub = v1::ActivationService::NewStub(grpc::CreateCustomChannel(
      parts_->rpc->address().ToString(), grpc::InsecureChannelCredentials(), own));
  grpc::ClientContext context;
  v1::GetModelResponse response;
  const grpc::Status status = stub->GetModel(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "TOO_MANY_CALLS");
  for (const char* method : {"ListHooks", "GetTokenizer", "GetWeight", "Plan", "Run", "Interact"}) {
    const auto [refused, answer] =
        CallRaw(absl::StrCat("/hookwire.v1.ActivationService/", method), "");
    EXPECT_EQ(ReasonOf(refused), "TOO_MANY_CALLS") << method;
  }
  for (const auto& call : calls) {
    call->context.TryCancel();
    (void)call->Finish();
  }
}

// A planner that waits to be told, or throws.
class OtherPlanner final : public Planner {
 public:
  using Body = std::function<absl::Status(KeepGoing)>;
  explicit OtherPlanner(Body body)
      : Planner(hookwire::testing::TinyModel(), Limits()), body_(std::move(body)) {}

  absl::StatusOr<std::shared_ptr<const RunPlan>> Plan(const v1::RunSpec& spec, Client client,
                                                      KeepGoing keep_going) const override {
    // Good requests of the same server are planned as ever.
    if (spec.captures_size() > 1) {
      const absl::Status status = body_(keep_going);
      if (!status.ok()) return status;
    }
    return Planner::Plan(spec, client, keep_going);
  }

 private:
  const Body body_;
};

// Large enough for a planning thread.
v1::RunSpec LargeSpec() {
  v1::RunSpec spec;
  spec.add_sequences()->add_token_ids(2);
  for (int i = 0; i < 5000; ++i) {
    spec.add_captures()->set_hook(absl::StrCat("blocks.*.", i, "*"));
  }
  return spec;
}

TEST_F(HostileRequestsTest, OthersAreAnsweredWhileLargeRequestsArePlanned) {
  absl::Notification go_on;
  const OtherPlanner planner([&](Planner::KeepGoing) {
    go_on.WaitForNotification();
    return absl::CancelledError("enough");
  });
  StartServer({.directory = {}, .execute = {}, .planner = &planner});
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([this] {
      grpc::ClientContext context;
      v1::PlanRequest request;
      *request.mutable_spec() = LargeSpec();
      v1::PlanResponse response;
      (void)stub_->Plan(&context, request, &response);
    });
  }
  while (parts_->call_limit.open() < 8) std::this_thread::yield();
  EXPECT_EQ(CallRaw("/grpc.health.v1.Health/Check", "").second, kServing);
  ExpectThatAGoodRunWorks();
  grpc::ClientContext context;
  v1::PlanRequest small;
  *small.mutable_spec() = GoodRequest().spec();
  v1::PlanResponse planned;
  EXPECT_TRUE(stub_->Plan(&context, small, &planned).ok());
  go_on.Notify();
  for (std::thread& client : clients) client.join();
}

// Planning that goes on until it is told to stop.
auto PlanningUntilTold(absl::Notification& begun, absl::Notification& ended) {
  return [&begun, &ended](Planner::KeepGoing keep_going) {
    begun.Notify();
    absl::Status status;
    while ((status = keep_going()).ok()) std::this_thread::yield();
    ended.Notify();
    return status;
  };
}

TEST_F(HostileRequestsTest, ACancelledCallIsPlannedNoFurther) {
  absl::Notification begun;
  absl::Notification ended;
  const OtherPlanner planner(PlanningUntilTold(begun, ended));
  StartServer({.directory = {}, .execute = {}, .planner = &planner});
  grpc::ClientContext context;
  std::thread client([&] {
    v1::PlanRequest request;
    *request.mutable_spec() = LargeSpec();
    v1::PlanResponse response;
    EXPECT_EQ(stub_->Plan(&context, request, &response).error_code(), grpc::StatusCode::CANCELLED);
  });
  begun.WaitForNotification();
  context.TryCancel();
  ended.WaitForNotification();
  client.join();
}

TEST_F(HostileRequestsTest, ACancelledRunIsPlannedNoFurther) {
  absl::Notification begun;
  absl::Notification ended;
  const OtherPlanner planner(PlanningUntilTold(begun, ended));
  StartServer({.directory = {}, .execute = {}, .planner = &planner});
  grpc::ClientContext context;
  v1::RunRequest request;
  *request.mutable_spec() = LargeSpec();
  const auto reader = stub_->Run(&context, request);
  begun.WaitForNotification();
  context.TryCancel();
  ended.WaitForNotification();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(HostileRequestsTest, WhatThePlannerThrowsIsAnAnswer) {
  bool memory = false;
  const OtherPlanner planner([&](Planner::KeepGoing) -> absl::Status {
    if (memory) throw std::bad_alloc();
    throw std::runtime_error("a planner's mistake");
  });
  StartServer({.directory = {}, .execute = {}, .planner = &planner});
  v1::RunSpec small = GoodRequest().spec();
  small.add_captures()->set_hook("blocks.0.hook_in");
  for (const v1::RunSpec& spec : {small, LargeSpec()}) {
    for (const bool out_of_memory : {false, true}) {
      memory = out_of_memory;
      const auto expect = [&](const grpc::Status& status) {
        EXPECT_EQ(status.error_code(), out_of_memory ? grpc::StatusCode::RESOURCE_EXHAUSTED
                                                     : grpc::StatusCode::INTERNAL);
        EXPECT_EQ(ReasonOf(status), out_of_memory ? "OUT_OF_MEMORY" : "INTERNAL");
        EXPECT_THAT(status.error_message(),
                    HasSubstr(out_of_memory ? "memory" : "a planner's mistake"));
      };
      v1::RunRequest run;
      *run.mutable_spec() = spec;
      expect(Run(run).status);

      grpc::ClientContext context;
      v1::PlanRequest plan;
      *plan.mutable_spec() = spec;
      v1::PlanResponse planned;
      expect(stub_->Plan(&context, plan, &planned));

      const auto interact = Open();
      v1::InteractRequest first;
      *first.mutable_spec() = spec;
      ASSERT_TRUE(interact->stream->Write(first));
      expect(interact->Finish());
    }
  }
  ExpectThatAGoodRunWorks();
}

// Throws when it is asked who calls.
class ThrowingPeers final : public Peers {
 public:
  using Peers::Peers;
  Principal Of(const std::string& peer) override {
    if (throws) throw std::bad_alloc();
    return Peers::Of(peer);
  }
  std::atomic<bool> throws = false;
};

TEST_F(HostileRequestsTest, EveryMethodAnswersWhereItsBeginningThrows) {
  const RealClock clock;
  ThrowingPeers peers(clock);
  StartServer({.directory = {}, .execute = {}, .peers = &peers});
  peers.throws = true;
  for (const char* method :
       {"GetModel", "ListHooks", "GetTokenizer", "GetWeight", "Plan", "Run", "Interact"}) {
    const auto [status, answer] =
        CallRaw(absl::StrCat("/hookwire.v1.ActivationService/", method), "");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << method;
    EXPECT_EQ(ReasonOf(status), "OUT_OF_MEMORY") << method;
  }
  peers.throws = false;
  ExpectThatAGoodRunWorks();
}

TEST_F(HostileRequestsTest, EveryMethodAnswersWhereItsAnswerThrows) {
  std::atomic<bool> throws = true;
  StartServer({.directory = {}, .execute = {}, .weights_digest = [&]() -> std::string {
                 if (throws) throw std::runtime_error("no digest");
                 return "sha256:00";
               }});
  v1::GetWeightRequest weight;
  weight.set_name("W_E");
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"GetModel", ""},
      {"GetWeight", weight.SerializeAsString()},
      // The receipt has the digest.
      {"Run", GoodRequest().SerializeAsString()}};
  for (const auto& [method, request] : calls) {
    grpc::Status status;
    if (method == "Run") {
      status = Run(GoodRequest()).status;
    } else {
      status = CallRaw("/hookwire.v1.ActivationService/" + method, request).first;
    }
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("no digest")) << method;
  }
  throws = false;
  ExpectThatAGoodRunWorks();
}

}  // namespace
}  // namespace hookwire::server
