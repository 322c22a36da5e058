// One run, whatever call it came through: the joint between the planner, the scheduler and the
// result stream.
#ifndef HOOKWIRE_SERVER_RPC_RUN_SESSION_H_
#define HOOKWIRE_SERVER_RPC_RUN_SESSION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "hookwire/v1/run.pb.h"
#include "server/local/shared_memory.h"
#include "server/plan/planner.h"
#include "server/plan/run_plan.h"
#include "server/rpc/answers.h"
#include "server/rpc/backend.h"
#include "server/schedule/scheduler.h"
#include "server/stream/message_writer.h"
#include "server/stream/result_stream.h"

namespace hookwire::server {

// A part of the call that it belongs to. The request is planned and queued on gRPC's thread;
// tensors are written from the scheduler's thread, what is left over from gRPC's.
class RunSession final : public RunOutput {
 public:
  // `backend` and `writer` must outlive the session.
  RunSession(const Backend& backend, std::string id, std::string peer, MessageWriter& writer)
      : backend_(backend), id_(std::move(id)), peer_(std::move(peer)), writer_(writer) {}

  // Plans and queues the run. From then on the writer is told everything, its end included; where
  // this returns an error, nothing. `owner` keeps the session, and is kept until the scheduler has
  // let go of the run.
  absl::Status Begin(const v1::RunSpec& spec, Planner::Client client, absl::Time deadline,
                     const std::shared_ptr<void>& owner);
  bool begun() const { return stream_.has_value(); }

  // For the log: the request was refused.
  void LogRefusal(const absl::Status& status) const;

  // The writer's message has been taken (or, not `ok`, never will be).
  void OnWritten(bool ok) { stream_->OnWritten(ok); }
  // The client has gone, or has broken the rules: the run ends as soon as it can.
  void Cancel(const absl::Status& status);
  // The transport has done with the call.
  void Detach();

  // Of the callbacks. REQUIRES: begun().
  Answers& answers() { return *answers_; }

  // RunOutput
  bool FitsBuffer() const override;
  bool Reserve(bool claim) override;
  uint8_t* Buffer(uint32_t index, uint64_t offset, uint64_t bytes) override;
  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> waits) override;
  absl::Status Progress(int layers_done) override;
  absl::Status status() const override { return stream_->status(); }
  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan& op, absl::FunctionRef<absl::Status()> keep_waiting) override;
  void Complete(RunOutcome outcome) override;

 private:
  void Log(const RunOutcome& outcome) const;

  const Backend& backend_;
  const std::string id_;
  const std::string peer_;
  MessageWriter& writer_;
  std::shared_ptr<const RunPlan> plan_;
  // There are none where the request was refused.
  std::optional<Answers> answers_;
  std::optional<ResultStream> stream_;
  // Null where the result goes in messages, and when the run has ended.
  std::unique_ptr<SharedResult> shared_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_SESSION_H_
