#include "server/rpc/run_session.h"

#include "server/errors/status_macros.h"
#include "server/observe/run_log.h"
#include "server/rpc/receipt.h"

namespace hookwire::server {

absl::Status RunSession::Begin(const v1::RunSpec& spec, Planner::Client client, absl::Time deadline,
                               const std::shared_ptr<void>& owner) {
  HOOKWIRE_ASSIGN_OR_RETURN(plan_, backend_.planner.Plan(spec, client));

  ResultStream::Options options;
  options.max_message_bytes = plan_->max_message_bytes;
  answers_.emplace(plan_);
  stream_.emplace(options, backend_.budget.Open(plan_->total_bytes), writer_, backend_.clock);
  backend_.streams.Add(&*stream_);

  auto run = std::make_unique<QueuedRun>();
  run->id = id_;
  run->client = peer_;
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

absl::Status RunSession::Emit(uint32_t index, uint64_t offset, at::Tensor tensor) {
  answers_->Show(index);
  return stream_->Emit(index, offset, std::move(tensor));
}

absl::Status RunSession::Progress(int layers_done) { return stream_->Progress(layers_done); }

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
  if (outcome.status.ok()) {
    stream_->End(MakeReceipt(id_, backend_.weights_digest(), backend_.server, *plan_, outcome));
  } else {
    stream_->Fail(outcome.status);
  }
  Log(outcome);
}

}  // namespace hookwire::server
