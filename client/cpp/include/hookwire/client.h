// A connection to hookwired: its model, its hook points, and runs that read and change them.
//
//   auto client = Client::Connect("127.0.0.1:7431");
//   v1::RunSpec spec;
//   *spec.add_sequences() = Tokens({2, 5, 9});
//   *spec.add_captures() = Capture("blocks.*.hook_resid_post");
//   auto result = (*client)->Collect(spec);
//
// Every request says which load of the server it expects: the one that answered Connect
// (Server.load_id). A server that was started again with another checkpoint or other settings
// refuses it with FAILED_PRECONDITION (LOAD_CHANGED); Connect gives a client for what it holds
// then.
//
// Requests are the messages of hookwire.v1 (run.proto says what each field means); ops.h builds
// them. Errors are absl::Status with the server's code and sentence; DetailOf (error.h) has the
// rest.
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
  // How long Connect may take, and every call but Run.
  absl::Duration timeout = absl::Seconds(10);
  // Wait, up to `timeout`, for a server that is not there yet. Otherwise that is an error at once.
  bool wait_until_ready = false;
  // Null means no TLS.
  std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr;
  // The largest message to take from the server, 2 MiB to 1 GiB.
  uint32_t max_message_bytes = 64U << 20U;
};

struct RunOptions {
  absl::Duration timeout = absl::InfiniteDuration();
  // Called once, before anything else: the run's id, plan and place in the queue. An error cancels.
  std::function<absl::Status(const v1::Accepted&)> on_accepted = nullptr;
  // Called when layers have run. An error cancels.
  std::function<absl::Status(uint32_t layers_done)> on_progress = nullptr;
};

// Takes each tensor as soon as all its bytes have come. An error cancels the run. While it works,
// nothing is read from the socket, and in the end the server waits.
using TensorCallback = std::function<absl::Status(Tensor)>;

// A whole result.
struct RunResult {
  v1::Plan plan;
  // In the order of the plan.
  std::vector<Tensor> tensors;
  v1::Receipt receipt;

  // The first tensor with this name; null where there is none. "logits", "log_probs" and "residual"
  // name the outputs.
  const Tensor* Find(std::string_view name, uint32_t sequence = 0) const;
};

// Thread-safe: any number of threads may call at once. Each client has a connection of its own.
class Client {
 public:
  // Connects to "host:port" or "unix:path", and asks who is there. UNAVAILABLE where nobody
  // answers.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         const ConnectOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  absl::StatusOr<v1::GetModelResponse> GetModel() const;
  // Those that any of `filters` (names, aliases, globs) names; all where there is none.
  absl::StatusOr<std::vector<v1::HookPoint>> ListHooks(
      const std::vector<std::string>& filters = {}) const;
  // What `spec` would do and send, exactly.
  absl::StatusOr<v1::Plan> Plan(const v1::RunSpec& spec) const;

  // Runs `spec` and hands over tensors as they come. Blocks until the run is over; the callbacks
  // are called on this thread. OK means that every tensor of the plan has been handed over whole
  // and the receipt has come.
  //
  // Errors: the server's own; the status that a callback returned, unchanged; DATA_LOSS where what
  // came is not what the plan said; RESOURCE_EXHAUSTED where there is no memory for a tensor;
  // INVALID_ARGUMENT where spec.max_message_bytes is above ConnectOptions.max_message_bytes. In all
  // of these cases the run has been cancelled on the server, too.
  absl::StatusOr<v1::Receipt> Run(const v1::RunSpec& spec, const TensorCallback& on_tensor,
                                  const RunOptions& options = {}) const;
  // The same, collected: the whole result or an error.
  absl::StatusOr<RunResult> Collect(const v1::RunSpec& spec, const RunOptions& options = {}) const;

 private:
  struct Stub;
  Client(std::shared_ptr<grpc::Channel> channel, const ConnectOptions& options);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
  absl::Duration timeout_;
  uint32_t max_message_bytes_;
  // Of the server that answered Connect; empty where it knows of none.
  std::string load_id_;
};

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_CLIENT_H_
