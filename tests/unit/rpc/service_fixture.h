// A server over a tiny model, on a loopback socket, with an executor that a test may replace.
#ifndef HOOKWIRE_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_
#define HOOKWIRE_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "hookwire/v1/service.grpc.pb.h"
#include "server/execute/executor.h"
#include "server/observe/clock.h"
#include "server/observe/logging.h"
#include "server/observe/weights_guard.h"
#include "server/plan/dtypes.h"
#include "server/rpc/describe_model.h"
#include "server/rpc/server.h"
#include "server/schedule/batch_scheduler.h"
#include "tests/unit/support/temp_directory.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {

class ServiceTest : public ::testing::Test {
 protected:
  static constexpr char kRun[] = "/hookwire.v1.ActivationService/Run";

  struct Settings {
    uint64_t budget = 64u << 20;
    // Among how many results without a reservation half of it is split.
    int paced = 1;
    size_t max_queue = 4;
    absl::Duration stall_timeout = absl::Seconds(60);
    std::string directory;
    // Of the server.
    std::string load_id = "";
    bool serve_weights = true;
    // Instead of the model's own.
    const model::Parameters* parameters = nullptr;
    // Instead of the model's own: runs one run at a time.
    std::function<absl::StatusOr<ExecutionReport>(const RunPlan&, RunOutput&)> execute;
    ListenAddress listen = {"127.0.0.1", 0};
    uint64_t max_upload_bytes = 1u << 30;
    uint64_t request_memory = uint64_t{5} << 30;
    size_t max_reads = 32;
    size_t max_calls = 1000;
    PlanningThreads::Options planning = {};
    // Instead of the model's own.
    const Planner* planner = nullptr;
    // Instead of those that ask the system.
    Peers* peers = nullptr;
    std::function<std::string()> weights_digest = [] { return std::string("sha256:00"); };
    SharedMemory* shared_memory = nullptr;
    // Of the weight files.
    WeightsGuard::Look change = [] { return std::nullopt; };
  };

  void StartServer(const Settings& settings) {
    parts_ = std::make_unique<Parts>(settings);
    auto rpc = RpcServer::Start(parts_->backend, settings.listen);
    ASSERT_TRUE(rpc.ok()) << rpc.status();
    parts_->rpc = *std::move(rpc);
    channel_ =
        grpc::CreateChannel(parts_->rpc->address().ToString(), grpc::InsecureChannelCredentials());
    stub_ = v1::ActivationService::NewStub(channel_);
  }

  void TearDown() override {
    if (parts_ == nullptr) return;
    parts_->scheduler.Drain();
    parts_->requests.AbandonAll(absl::UnavailableError("the test is over"));
    parts_->calls.AbandonAll(absl::UnavailableError("the test is over"));
    parts_->streams.AbandonAll(absl::UnavailableError("the test is over"));
    EXPECT_TRUE(parts_->streams.WaitUntilEmpty(absl::Now() + absl::Seconds(30)));
    parts_->rpc->Shutdown(absl::ZeroDuration());
    parts_->budget->NotifyRoom(nullptr);
    EXPECT_EQ(parts_->budget->held(), 0u) << "memory that was never given back";
    EXPECT_EQ(parts_->request_memory->held(), 0u) << "a request that was never ended";
    EXPECT_EQ(parts_->call_limit.open(), 0u) << "a call that was never ended";
    EXPECT_EQ(parts_->requests.size(), 0u);
    EXPECT_EQ(parts_->calls.size(), 0u);
  }

  // Reads the residual stream of a short prompt.
  static v1::RunRequest GoodRequest() {
    v1::RunRequest request;
    for (const uint32_t id : {2u, 5u, 7u}) {
      if (request.spec().sequences_size() == 0) request.mutable_spec()->add_sequences();
      request.mutable_spec()->mutable_sequences(0)->add_token_ids(id);
    }
    request.mutable_spec()->add_captures()->set_hook("blocks.*.hook_out");
    return request;
  }

  struct Result {
    grpc::Status status;
    v1::Accepted accepted;
    std::map<uint32_t, std::string> tensors;
    v1::Receipt receipt;
    int messages = 0;
  };

  Result Run(const v1::RunRequest& request) {
    Result result;
    grpc::ClientContext context;
    const auto reader = stub_->Run(&context, request);
    v1::RunResponse response;
    while (reader->Read(&response)) {
      ++result.messages;
      if (response.has_accepted()) result.accepted = response.accepted();
      if (response.has_receipt()) result.receipt = response.receipt();
      for (const auto& chunk : response.tensors().chunks()) {
        std::string& bytes = result.tensors[chunk.tensor()];
        EXPECT_EQ(bytes.size(), chunk.offset());
        bytes += chunk.data();
      }
    }
    result.status = reader->Finish();
    return result;
  }

  void ExpectThatAGoodRunWorks() {
    const Result result = Run(GoodRequest());
    EXPECT_TRUE(result.status.ok()) << result.status.error_message();
    EXPECT_FALSE(result.receipt.run_id().empty());
  }

  // Sends any bytes to any method, and returns the status and the first answer.
  std::pair<grpc::Status, std::string> CallRaw(const std::string& method,
                                               const std::string& bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(&context, method, &queue);
    const auto wait = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    call->StartCall(nullptr);
    wait();
    const grpc::Slice slice(bytes);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    wait();
    std::string answer;
    grpc::ByteBuffer buffer;
    call->Read(&buffer, nullptr);
    if (wait()) {
      grpc::Slice whole;
      EXPECT_TRUE(buffer.DumpToSingleSlice(&whole).ok());
      answer.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    wait();
    return {status, answer};
  }

  static std::string ReasonOf(const grpc::Status& status) {
    google::rpc::Status details;
    EXPECT_TRUE(details.ParseFromString(status.error_details()));
    google::rpc::ErrorInfo info;
    for (const auto& any : details.details()) {
      if (any.UnpackTo(&info)) return info.reason();
    }
    return "";
  }

  struct Parts {
    explicit Parts(const Settings& settings)
        : guard(settings.change),
          budget(ByteBudget::Create(settings.budget, settings.paced)),
          request_memory(RequestMemory::Create(settings.request_memory)),
          streams(settings.stall_timeout, clock),
          requests(settings.stall_timeout, clock),
          calls(settings.stall_timeout, clock),
          reads(settings.max_reads),
          call_limit(settings.max_calls),
          planning_threads(settings.planning),
          scheduler(
              {.max_queue = settings.max_queue, .on_worker_start = [] {}},
              [this, execute = settings.execute](absl::Span<const BatchedRun> runs,
                                                 BatchContext& context) {
                if (!execute) return executor.Execute(runs, context);
                for (size_t i = 0; i < runs.size(); ++i) {
                  context.Done(i, execute(*runs[i].plan, *runs[i].output));
                }
              },
              clock),
          backend{.catalogue = model.catalogue(),
                  .planner = settings.planner != nullptr ? *settings.planner : planner,
                  .scheduler = scheduler,
                  .budget = *budget,
                  .streams = streams,
                  .requests = requests,
                  .calls = calls,
                  .reads = reads,
                  .request_memory = *request_memory,
                  .planning_threads = planning_threads,
                  .peers = settings.peers != nullptr ? *settings.peers : own_peers,
                  .call_limit = call_limit,
                  .clock = clock,
                  .logger = *logger,
                  .model = DescribeModel(model.config(), {.name = "tiny",
                                                          .layer_scalars = model.layer_scalars(),
                                                          .n_params = model.n_params()}),
                  .server = ServerOf(settings),
                  .compute_dtype = model.dtype(),
                  .weights_digest = settings.weights_digest,
                  .weights_guard = guard,
                  .max_upload_bytes = settings.max_upload_bytes,
                  .tokenizer = settings.directory.empty()
                                   ? TokenizerFiles()
                                   : TokenizerFiles::Read(settings.directory).value(),
                  .parameters = settings.parameters != nullptr ? settings.parameters
                                : settings.serve_weights       ? &model.parameters()
                                                               : nullptr,
                  .shared_memory = settings.shared_memory} {
      budget->NotifyRoom([this] { scheduler.RoomCameFree(); });
    }

    static v1::Server ServerOf(const Settings& settings) {
      v1::Server server;
      server.set_load_id(settings.load_id);
      return server;
    }

    const model::TextModel& model = hookwire::testing::TinyModel();
    const RealClock clock;
    const std::shared_ptr<spdlog::logger> logger = MakeLogger(LogFormat::kText, spdlog::level::off);
    const Planner planner{model, Limits()};
    const Executor executor{model, {}};
    WeightsGuard guard;
    const std::shared_ptr<ByteBudget> budget;
    const std::shared_ptr<RequestMemory> request_memory;
    StreamRegistry streams;
    StreamRegistry requests;
    StreamRegistry calls;
    RequestReads reads;
    Peers own_peers{clock};
    CallLimit call_limit;
    PlanningThreads planning_threads;
    BatchScheduler scheduler;
    const Backend backend;
    std::unique_ptr<RpcServer> rpc;
  };

  std::unique_ptr<Parts> parts_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ActivationService::Stub> stub_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_
