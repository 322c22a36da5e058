// A connection to hookwired: its model, its hook points, and runs that read and change them.
//
//   auto client = Client::Connect("127.0.0.1:7431");
//   v1::RunSpec spec;
//   *spec.add_sequences() = Tokens({2, 5, 9});
//   *spec.add_captures() = Capture("blocks.*.hook_resid_post");
//   auto result = (*client)->Collect(spec);
//
// Each request states the load that the client connected to (Server.load_id). A server that was
// restarted with another checkpoint or other settings refuses the request with FAILED_PRECONDITION
// (LOAD_CHANGED); call Connect again to use what it has loaded now.
//
// Requests are messages of hookwire.v1, which ops.h helps to build; run.proto documents their
// fields. Errors are absl::Status with the server's code and sentence; DetailOf (error.h) returns
// their details.
#ifndef HOOKWIRE_CLIENT_CPP_CLIENT_H_
#define HOOKWIRE_CLIENT_CPP_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "hookwire/error.h"
#include "hookwire/ops.h"
#include "hookwire/tensor.h"
#include "hookwire/v1/service.pb.h"

namespace grpc {
class Channel;
class ChannelCredentials;
}  // namespace grpc

namespace hookwire::client {

struct ConnectOptions {
  // The longest time that Connect may take, and each other call except Run and Collect.
  absl::Duration timeout = absl::Seconds(10);
  // Whether Connect waits, up to `timeout`, for a server that does not accept connections yet. If
  // false, it fails at once with UNAVAILABLE.
  bool wait_until_ready = false;
  // Null means an unencrypted connection.
  std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr;
  // The largest message to accept from the server, in bytes: 2 MiB to 1 GiB.
  uint32_t max_message_bytes = 64U << 20U;
};

struct RunOptions {
  // The longest time that the run may take, its time in the queue included; after it, the run fails
  // with DEADLINE_EXCEEDED.
  absl::Duration timeout = absl::InfiniteDuration();
  // Called once, before the first tensor, with the run's id, plan and place in the queue. Returning
  // an error cancels the run.
  std::function<absl::Status(const v1::Accepted&)> on_accepted = nullptr;
  // Called when more layers have been computed, with the number of layers so far. Returning an
  // error cancels the run.
  std::function<absl::Status(uint32_t layers_done)> on_progress = nullptr;
};

// Called with each tensor as soon as all its bytes have been received. Returning an error cancels
// the run. Until it returns, no further messages are read, so a slow function makes the server
// wait.
using TensorCallback = std::function<absl::Status(Tensor)>;

// A complete result.
struct RunResult {
  v1::Plan plan;
  // In the order of the plan.
  std::vector<Tensor> tensors;
  // What ran, where, on which weights.
  v1::Receipt receipt;

  // The tensor with this name of sequence number `sequence` of the run, or null. "logits",
  // "log_probs" and "residual" are the names of the outputs. If there are several, the first in the
  // order of the plan. Valid as long as this result.
  const Tensor* Find(std::string_view name, uint32_t sequence = 0) const;
};

// Thread-safe: any number of threads may call it at the same time. Each client has its own
// connection.
class Client {
 public:
  // Connects to "host:port" or "unix:path", and calls GetModel.
  //
  // Errors: UNAVAILABLE if no server answers; DEADLINE_EXCEEDED after ConnectOptions.timeout;
  // INVALID_ARGUMENT if ConnectOptions.max_message_bytes is out of range.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         const ConnectOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The model, the server and its load at the moment. Errors: UNAVAILABLE, DEADLINE_EXCEEDED.
  absl::StatusOr<v1::GetModelResponse> GetModel() const;
  // The hook points that any of `filters` (names, aliases, globs) matches, in the order of the
  // pass; without filters, all. Errors: the server's own, such as NOT_FOUND for a filter that
  // matches none.
  absl::StatusOr<std::vector<v1::HookPoint>> ListHooks(
      const std::vector<std::string>& filters = {}) const;
  // What a run of `spec` would send, without running it. Errors: those with which the server would
  // refuse the run.
  absl::StatusOr<v1::Plan> Plan(const v1::RunSpec& spec) const;

  // Runs `spec` and calls `on_tensor` with each tensor. Blocks until the run has ended, and calls
  // the functions on this thread. OK means that `on_tensor` was called with every tensor of the
  // plan and that the receipt has been received.
  //
  // Errors: the server's own; the status that a function returned, unchanged; DATA_LOSS if the
  // received data do not match the plan; RESOURCE_EXHAUSTED if there is no memory for a tensor;
  // INVALID_ARGUMENT if spec.max_message_bytes is above ConnectOptions.max_message_bytes. After an
  // error, the run does not continue on the server.
  absl::StatusOr<v1::Receipt> Run(const v1::RunSpec& spec, const TensorCallback& on_tensor,
                                  const RunOptions& options = {}) const;
  // As Run, with the same errors, but returns all tensors together.
  absl::StatusOr<RunResult> Collect(const v1::RunSpec& spec, const RunOptions& options = {}) const;

 private:
  struct Stub;
  Client(std::shared_ptr<grpc::Channel> channel, const ConnectOptions& options);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
  absl::Duration timeout_;
  uint32_t max_message_bytes_;
  // The load_id of the server that Connect connected to; empty if an older server sent none.
  std::string load_id_;
};

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_CLIENT_H_
