// One run of a Run or Interact call: connects the planner, the scheduler and the result stream.
#ifndef HOOKWIRE_SERVER_RPC_SERVED_RUN_H_
#define HOOKWIRE_SERVER_RPC_SERVED_RUN_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "hookwire/v1/run.pb.h"
#include "server/access/principal.h"
#include "server/local/shared_memory.h"
#include "server/memory/request_memory.h"
#include "server/plan/planner.h"
#include "server/plan/run_plan.h"
#include "server/rpc/answers.h"
#include "server/rpc/backend.h"
#include "server/rpc/served_call.h"
#include "server/schedule/scheduler.h"
#include "server/stream/message_writer.h"
#include "server/stream/result_stream.h"

namespace hookwire::server {

// A member of its call. The request is planned and queued on gRPC's thread or on a planning thread.
// A message is written on the scheduler's thread that emits a tensor, or on gRPC's thread when the
// message before has been sent.
// Cancel may come from any thread at any time; the other methods that lead to Begin come one after
// another.
class ServedRun final : public RunOutput {
 public:
  // `backend` and `writer` must outlive the run. `memory` is what the request holds.
  ServedRun(const Backend& backend, std::string id, Principal principal,
            std::shared_ptr<RequestMemory::Lease> memory, MessageWriter& writer)
      : backend_(backend),
        id_(std::move(id)),
        principal_(std::move(principal)),
        writer_(writer),
        memory_(std::move(memory)) {}

  // Plans and queues the run. If this returns OK, the writer is told everything from then on, also
  // how the call ends; if it returns an error, the writer is told nothing. `call`, whose member
  // this is, is kept until the scheduler has dropped the run; a run that has not ended by its
  // deadline ends then. The memory that was held for the request is exchanged for what its plan
  // holds.
  absl::Status Begin(const v1::RunSpec& spec, Planner::Client client,
                     const std::shared_ptr<const ServedCall>& call);
  bool begun() const { return begun_; }

  // Logs that the request was refused.
  void LogRefusal(const absl::Status& status) const;

  // The writer's message has been sent (or, if not `ok`, never will be).
  void OnWritten(bool ok) { stream_->OnWritten(ok); }
  // The client has gone, or has broken the protocol: a run that has not begun does not begin, and
  // one that has ends as soon as possible.
  void Cancel(const absl::Status& status);
  // gRPC has finished the call.
  void Detach();

  // The answers to callbacks. REQUIRES: begun().
  Answers& answers() { return *answers_; }

  // RunOutput
  bool FitsBuffer() const override;
  bool Reserve(bool claim) override;
  uint8_t* Buffer(uint32_t index, uint64_t offset, uint64_t bytes) override;
  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> waits) override;
  absl::Status EmitTogether(uint32_t first, uint32_t count, at::Tensor tensors,
                            absl::FunctionRef<void(bool)> waits) override;
  absl::Status Progress(int layers_done) override;
  absl::Status status() const override { return stream_->status(); }
  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan& op, absl::FunctionRef<absl::Status()> keep_waiting) override;
  void Complete(RunOutcome outcome) override;

 private:
  // `count` tensors from number `index` on, or a part of one.
  absl::Status Give(uint32_t index, uint64_t offset, uint32_t count, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> waits);
  // Makes the members of a run that is about to be queued.
  absl::Status Prepare(const v1::RunSpec& spec, Planner::Client client, const ServedCall& call);
  void Log(const RunOutcome& outcome) const;

  const Backend& backend_;
  const std::string id_;
  const Principal principal_;
  MessageWriter& writer_;
  // Shared with the stream, whose tensors may be sent after the call has ended.
  const std::shared_ptr<RequestMemory::Lease> memory_;

  // Orders Begin and Cancel, which run on different threads.
  absl::Mutex mutex_;
  absl::Status cancelled_ ABSL_GUARDED_BY(mutex_);
  // Once true, the members below exist until the end.
  std::atomic<bool> begun_ = false;
  std::shared_ptr<const RunPlan> plan_;
  // Absent if the request was refused.
  std::optional<Answers> answers_;
  std::optional<ResultStream> stream_;
  // Null if the result goes in messages, and when the run has ended.
  std::unique_ptr<SharedResult> shared_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_SERVED_RUN_H_
