// Where the results of one run go.
#ifndef HOOKWIRE_SERVER_EXECUTE_RUN_OUTPUT_H_
#define HOOKWIRE_SERVER_EXECUTE_RUN_OUTPUT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// Non-finite elements that were emitted of one hook point (or output) and sequence.
struct NonFiniteCount {
  std::string hook;
  uint32_t sequence = 0;
  uint64_t nan = 0;
  uint64_t inf = 0;
};

// What a successful run has emitted.
struct ExecutionReport {
  uint64_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<NonFiniteCount> non_finite;
};

// The runs that were executed together.
struct BatchSize {
  uint32_t runs = 0;
  uint32_t sequences = 0;
  uint64_t tokens = 0;
};

// How a run ended.
struct RunOutcome {
  absl::Status status;
  // If the status is OK.
  ExecutionReport report;
  // From the moment the run was enqueued until its first pass began.
  absl::Duration queued;
  // From the start of the last execution until the run left it; zero where it never started.
  absl::Duration computed;
  // The batch of the last execution. All zero where the run never started.
  BatchSize batch;
  // How many times the run was executed again, because the pass of its batch had failed.
  // Tensors that had been emitted by then were not emitted again.
  uint32_t repeats = 0;
};

// See RunOutput::EmitTogether.
inline constexpr uint64_t kJoinedAlignment = 64;

// One run's output: room for its result, its tensors as they are computed, the answers of its
// client, and at last its outcome. Implemented by rpc/. schedule/ asks for room and completes the
// run; execute/ does what lies between, on the thread that executes the run's batch.
class RunOutput {
 public:
  virtual ~RunOutput() = default;

  // Whether room for the whole result can be reserved at all. A run without a reservation may have
  // to wait for its reader, and does not share a pass.
  virtual bool FitsBuffer() const = 0;
  // Reserves that room. False where there is none now; Scheduler::RoomCameFree says when to ask
  // again. With `claim`, room that comes free is kept for this run until it has its reservation:
  // others get what is left beside it. At most one run has a claim at a time.
  virtual bool Reserve(bool claim) = 0;

  // Where the caller should write `bytes` of tensor number `index` from its byte `offset` on. What
  // was written there (all of it, or some rows) is then given to Emit, and is not copied again.
  // Null: anywhere.
  virtual uint8_t* Buffer(uint32_t /*index*/, uint64_t /*offset*/, uint64_t /*bytes*/) {
    return nullptr;
  }

  // Takes tensor number `index` of the plan from its byte `offset` on: all of it, or some rows
  // (along the first axis) of a tensor that is computed in several steps, in order. On the CPU,
  // contiguous, in its wire dtype, and the only user of its storage. Without a reservation it may
  // block while the reader is behind: it then calls `waits(true)` before, and `waits(false)`
  // after. An error (the client is gone, the run was cancelled) ends the run.
  virtual absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                            absl::FunctionRef<void(bool)> waits) = 0;

  // The same for `count` whole tensors, number `first` and those after it, whose bytes follow each
  // other in `tensors`. Only where the plan says join_tensors, and for tensors whose bytes, but for
  // the last one's, are a multiple of kJoinedAlignment: in a buffer these lie without gaps.
  virtual absl::Status EmitTogether(uint32_t first, uint32_t /*count*/, at::Tensor /*tensors*/,
                                    absl::FunctionRef<void(bool)> /*waits*/) {
    return absl::InternalError(absl::StrCat(
        "tensors from ", first, " on were given together, to an output of single ones"));
  }

  // `layers_done` layers have run. An error ends the run.
  virtual absl::Status Progress(int layers_done) = 0;

  // An error when the client no longer waits for the result: it has cancelled the run, is gone, or
  // reads nothing. It ends the run. Called before every step of a pass, so it has to be fast.
  virtual absl::Status status() const = 0;

  // The client's answers to the tensors of callback `op`, which have been emitted: one for each, in
  // the dtype and shape of the plan, on the CPU, contiguous; undefined if the client leaves the
  // tensor unchanged. Blocks until the client has answered them all, and asks `keep_waiting`
  // several times a second: an error ends the wait, and is returned. An error ends the run.
  virtual absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan& op, absl::FunctionRef<absl::Status()> /*keep_waiting*/) {
    return absl::InternalError(
        absl::StrCat("intervention ", op.intervention, " asks a client that cannot answer"));
  }

  // The last call, exactly once: on the thread that executes the batch, or on the one that took the
  // run out of the queue.
  virtual void Complete(RunOutcome outcome) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_RUN_OUTPUT_H_
