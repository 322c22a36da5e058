#include "hookwire/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/src/error.h"
#include "client/cpp/src/raw_stream.h"
#include "client/cpp/src/run_assembler.h"
#include "client/cpp/src/run_decoder.h"
#include "hookwire/v1/service.grpc.pb.h"

namespace hookwire::client {
namespace {

constexpr uint32_t kMinMessageBytes = 2U << 20U;
constexpr uint32_t kMaxMessageBytes = 1U << 30U;
constexpr char kRunMethod[] = "/hookwire.v1.ActivationService/Run";

void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout));
}

}  // namespace

struct Client::Stub {
  explicit Stub(const std::shared_ptr<grpc::Channel>& channel) : service(channel) {}
  v1::ActivationService::Stub service;
};

const Tensor* RunResult::Find(std::string_view name, uint32_t sequence) const {
  for (const Tensor& tensor : tensors) {
    if (tensor.sequence() == sequence && tensor.HasName(name)) return &tensor;
  }
  return nullptr;
}

Client::Client(std::shared_ptr<grpc::Channel> channel, const ConnectOptions& options)
    : channel_(std::move(channel)),
      stub_(std::make_unique<Stub>(channel_)),
      timeout_(options.timeout),
      max_message_bytes_(options.max_message_bytes) {}

Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address,
                                                        const ConnectOptions& options) {
  if (options.max_message_bytes < kMinMessageBytes ||
      options.max_message_bytes > kMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_message_bytes is ", options.max_message_bytes, "; it must be 2 MiB to 1 GiB"));
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  // Without the process-wide pool of connections, so that two clients have two connections.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      address, options.credentials ? options.credentials : grpc::InsecureChannelCredentials(),
      arguments);
  std::unique_ptr<Client> client(new Client(std::move(channel), options));

  grpc::ClientContext context;
  SetTimeout(context, options.timeout);
  context.set_wait_for_ready(options.wait_until_ready);
  v1::GetModelResponse model;
  const grpc::Status status = client->stub_->service.GetModel(&context, {}, &model);
  if (!status.ok()) {
    const absl::Status error = FromGrpc(status);
    absl::Status named(error.code(),
                       absl::StrCat("no hookwired at ", address, ": ", error.message()));
    error.ForEachPayload([&](auto url, const auto& payload) { named.SetPayload(url, payload); });
    return named;
  }
  client->load_id_ = model.server().load_id();
  return client;
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel() const {
  grpc::ClientContext context;
  SetTimeout(context, timeout_);
  v1::GetModelResponse response;
  const grpc::Status status = stub_->service.GetModel(&context, {}, &response);
  if (!status.ok()) return FromGrpc(status);
  return response;
}

absl::StatusOr<std::vector<v1::HookPoint>> Client::ListHooks(
    const std::vector<std::string>& filters) const {
  grpc::ClientContext context;
  SetTimeout(context, timeout_);
  v1::ListHooksRequest request;
  for (const std::string& filter : filters) request.add_filters(filter);
  request.set_load_id(load_id_);
  v1::ListHooksResponse response;
  const grpc::Status status = stub_->service.ListHooks(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  auto& hooks = *response.mutable_hooks();
  return std::vector<v1::HookPoint>(std::make_move_iterator(hooks.begin()),
                                    std::make_move_iterator(hooks.end()));
}

absl::StatusOr<v1::Plan> Client::Plan(const v1::RunSpec& spec) const {
  grpc::ClientContext context;
  SetTimeout(context, timeout_);
  v1::PlanRequest request;
  *request.mutable_spec() = spec;
  if (spec.load_id().empty()) request.mutable_spec()->set_load_id(load_id_);
  v1::PlanResponse response;
  const grpc::Status status = stub_->service.Plan(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  return std::move(*response.mutable_plan());
}

absl::StatusOr<v1::Receipt> Client::Run(const v1::RunSpec& spec, const TensorCallback& on_tensor,
                                        const RunOptions& options) const {
  if (spec.max_message_bytes() > max_message_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("spec.max_message_bytes is ", spec.max_message_bytes(),
                     ", above ConnectOptions.max_message_bytes, ", max_message_bytes_));
  }
  v1::RunRequest request;
  *request.mutable_spec() = spec;
  if (spec.load_id().empty()) request.mutable_spec()->set_load_id(load_id_);
  grpc::ClientContext context;
  SetTimeout(context, options.timeout);
  RunAssembler assembler(on_tensor, options);
  RawStream<v1::RunRequest> stream(channel_, kRunMethod, context, request);
  grpc::ByteBuffer message;
  while (stream.Read(message)) {
    grpc::ProtoBufferReader reader(&message);
    // On an error the stream's destructor cancels the call.
    if (absl::Status status = DecodeRunResponse(reader, assembler); !status.ok()) return status;
  }
  if (const grpc::Status status = stream.Finish(); !status.ok()) return FromGrpc(status);
  return std::move(assembler).Result();
}

absl::StatusOr<RunResult> Client::Collect(const v1::RunSpec& spec,
                                          const RunOptions& options) const {
  RunResult result;
  RunOptions collecting = options;
  collecting.on_accepted = [&](const v1::Accepted& accepted) {
    result.plan = accepted.plan();
    return options.on_accepted ? options.on_accepted(accepted) : absl::OkStatus();
  };
  std::vector<std::unique_ptr<Tensor>> tensors;
  auto receipt = Run(
      spec,
      [&](Tensor tensor) {
        const size_t index = tensor.index();
        if (index >= tensors.size()) tensors.resize(index + 1);
        tensors[index] = std::make_unique<Tensor>(std::move(tensor));
        return absl::OkStatus();
      },
      collecting);
  if (!receipt.ok()) return receipt.status();
  result.receipt = *std::move(receipt);
  // Run has handed over every tensor of the plan.
  for (std::unique_ptr<Tensor>& tensor : tensors) result.tensors.push_back(std::move(*tensor));
  return result;
}

}  // namespace hookwire::client
