#include "server/rpc/run_session.h"

#include "server/errors/status_macros.h"
#include "server/observe/run_log.h"
#include "server/rpc/receipt.h"

namespace hookwire::server {

namespace {

Priority PriorityOf(v1::Priority priority) {
  switch (priority) {
    case v1::PRIORITY_LOW:
      return Priority::kLow;
    case v1::PRIORITY_HIGH:
      return Priority::kHigh;
    default:
      return Priority::kNormal;
  }
}

}  // namespace

absl::Status RunSession::Begin(const v1::RunSpec& spec, Planner::Client client, absl::Time deadline,
                               const std::shared_ptr<void>& owner) {
  HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.Check());
  HOOKWIRE_ASSIGN_OR_RETURN(plan_, backend_.planner.Plan(spec, client));

  ResultStream::Options options;
  options.max_message_bytes = plan_->max_message_bytes;
  answers_.emplace(plan_);
  if (backend_.shared_memory != nullptr) {
    shared_ = backend_.shared_memory->Lend(spec.shared_memory_token(), *plan_);
  }
  const bool is_shared = shared_ != nullptr;
  stream_.emplace(options, backend_.budget.Open(plan_->total_bytes, peer_), writer_,
                  backend_.clock);
  backend_.streams.Add(&*stream_);

  auto run = std::make_unique<QueuedRun>();
  run->id = id_;
  run->client = peer_;
  run->priority = PriorityOf(spec.priority());
  run->plan = plan_;
  run->output = std::shared_ptr<RunOutput>(owner, this);
  run->deadline = deadline;
  const absl::StatusOr<uint32_t> ahead = backend_.scheduler.Enqueue(run);
  if (!ahead.ok()) {
    RunOutcome outcome;
    outcome.status = ahead.status();
    Complete(std::move(outcome));
    return absl::OkStatus();
  }
  // The worker may have begun by now: what it emits waits for this.
  v1::Accepted accepted;
  accepted.set_run_id(id_);
  *accepted.mutable_plan() = backend_.planner.Describe(*plan_);
  accepted.set_queue_position(*ahead);
  accepted.set_shared_memory(is_shared);
  stream_->Open(accepted);
  return absl::OkStatus();
}

void RunSession::LogRefusal(const absl::Status& status) const {
  RunOutcome outcome;
  outcome.status = status;
  Log(outcome);
}

void RunSession::Log(const RunOutcome& outcome) const {
  RunRecord record;
  record.id = id_;
  record.peer = peer_;
  if (plan_ != nullptr) {
    record.sequences = plan_->sequences.size();
    record.tokens = plan_->total_tokens;
  }
  if (stream_.has_value()) {
    record.tensors = stream_->tensors();
    record.bytes = stream_->bytes();
  }
  for (const NonFiniteCount& count : outcome.report.non_finite) {
    record.non_finite += count.nan + count.inf;
  }
  record.queued = outcome.queued;
  record.computed = outcome.computed;
  record.status = outcome.status;
  LogRun(backend_.logger, record);
}

void RunSession::Cancel(const absl::Status& status) {
  if (!stream_.has_value()) return;
  stream_->Cancel(status);
  answers_->Close(status);
  backend_.scheduler.Cancel(id_);
}

void RunSession::Detach() {
  if (stream_.has_value()) backend_.streams.Remove(&*stream_);
}

// What lies in shared memory waits for no reader. But while the segment lacks memory for some of
// the result, the system may refuse it in the middle of the pass, and those tensors go in messages:
// then the buffer must have room for them.
bool RunSession::FitsBuffer() const {
  return (shared_ != nullptr && shared_->HasAllMemory()) || stream_->MayReserve();
}

bool RunSession::Reserve(bool claim) {
  return (shared_ != nullptr && shared_->HasAllMemory()) || stream_->Reserve(claim);
}

uint8_t* RunSession::Buffer(uint32_t index, uint64_t offset, uint64_t bytes) {
  return shared_ == nullptr ? nullptr : shared_->Buffer(index, offset, bytes);
}

absl::Status RunSession::Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                              absl::FunctionRef<void(bool)> waits) {
  answers_->Show(index);
  if (shared_ != nullptr) {
    if (const std::optional<uint64_t> at = shared_->Find(tensor.const_data_ptr())) {
      return stream_->EmitShared(index, offset, tensor.nbytes(), *at);
    }
  }
  return stream_->Emit(index, offset, std::move(tensor), waits);
}

absl::Status RunSession::Progress(int layers_done) {
  HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.status());
  return stream_->Progress(layers_done);
}

absl::StatusOr<std::vector<at::Tensor>> RunSession::AwaitAnswer(
    const OpPlan& op, absl::FunctionRef<absl::Status()> keep_waiting) {
  stream_->SetBlocked(true);
  auto answers = answers_->Await(op, [&] {
    // The stream fails where its reader stands still, and at shutdown.
    const absl::Status status = stream_->status();
    return status.ok() ? keep_waiting() : status;
  });
  stream_->SetBlocked(false);
  return answers;
}

void RunSession::Complete(RunOutcome outcome) {
  // Before the receipt: a client that has it may start its next run.
  shared_ = nullptr;
  // A receipt says that all of it was computed from the weights that it names.
  if (outcome.status.ok()) outcome.status = backend_.weights_guard.Check();
  if (outcome.status.ok()) {
    stream_->End(MakeReceipt(id_, backend_.weights_digest(), backend_.server, *plan_, outcome));
  } else {
    stream_->Fail(outcome.status);
  }
  Log(outcome);
}

}  // namespace hookwire::server
