#include "server/rpc/served_run.h"

#include <google/protobuf/arena.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "server/errors/status_macros.h"
#include "server/observe/run_log.h"
#include "server/plan/request_cost.h"
#include "server/rpc/guard.h"
#include "server/rpc/receipt.h"
#include "server/rpc/request_reads.h"

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

absl::Status ServedRun::Prepare(const v1::RunSpec& spec, Planner::Client client,
                                const ServedCall& call) {
  HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.Check());
  HOOKWIRE_ASSIGN_OR_RETURN(
      plan_, backend_.planner.Plan(spec, client, [&call] { return call.KeepGoing(); }));
  const uint64_t messages = client == Planner::Client::kAnswers ? kMaxRequestBytes : 0;
  HOOKWIRE_RETURN_IF_ERROR(memory_->Resize(HeldBytes(*plan_) + messages));
  answers_.emplace(plan_);
  if (backend_.shared_memory != nullptr) {
    shared_ = backend_.shared_memory->Lend(spec.shared_memory_token(), *plan_);
  }
  ResultStream::Options options;
  options.max_message_bytes = plan_->max_message_bytes;
  stream_.emplace(options, backend_.budget.Open(plan_->total_bytes, principal_.key, memory_),
                  writer_, backend_.clock);
  return absl::OkStatus();
}

absl::Status ServedRun::Begin(const v1::RunSpec& spec, Planner::Client client,
                              const std::shared_ptr<const ServedCall>& call) {
  HOOKWIRE_RETURN_IF_ERROR(Prepare(spec, client, *call));
  auto run = std::make_unique<QueuedRun>();
  run->id = id_;
  run->client = principal_.key;
  run->priority = PriorityOf(spec.priority());
  run->plan = plan_;
  run->output = std::shared_ptr<RunOutput>(call, this);
  run->deadline = call->deadline();
  google::protobuf::Arena arena;
  auto* const message = google::protobuf::Arena::CreateMessage<v1::RunResponse>(&arena);
  v1::Accepted& accepted = *message->mutable_accepted();
  accepted.set_run_id(id_);
  accepted.set_shared_memory(shared_ != nullptr);
  backend_.planner.Describe(*plan_, *accepted.mutable_plan());

  absl::MutexLock lock(&mutex_);
  HOOKWIRE_RETURN_IF_ERROR(cancelled_);
  // Both before the run is queued: it may have ended when Enqueue returns.
  begun_ = true;
  backend_.streams.Add(&*stream_);
  absl::Cleanup not_begun = [this] {
    backend_.streams.Remove(&*stream_);
    begun_ = false;
  };
  const absl::StatusOr<uint32_t> ahead = backend_.scheduler.Enqueue(run);
  HOOKWIRE_RETURN_IF_ERROR(ahead.status());
  std::move(not_begun).Cancel();
  const absl::Status opened = Guarded([&] {
    // The run may have begun by now: what it has emitted is sent after this.
    accepted.set_queue_position(*ahead);
    stream_->Open(*message);
    return absl::OkStatus();
  });
  if (!opened.ok()) stream_->Cancel(opened);
  return absl::OkStatus();
}

void ServedRun::LogRefusal(const absl::Status& status) const {
  RunOutcome outcome;
  outcome.status = status;
  Log(outcome);
}

void ServedRun::Log(const RunOutcome& outcome) const {
  RunRecord record;
  record.id = id_;
  record.peer = principal_.name;
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

void ServedRun::Cancel(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_.ok()) cancelled_ = status;
    if (!begun_) return;
  }
  stream_->Cancel(status);
  answers_->Close(status);
  backend_.scheduler.Cancel(id_);
}

void ServedRun::Detach() {
  if (begun_) backend_.streams.Remove(&*stream_);
}

// What lies in shared memory waits for no reader. But while the segment lacks memory for some of
// the result, the system may refuse it in the middle of the pass, and those tensors go in messages:
// then the buffer must have room for them.
bool ServedRun::FitsBuffer() const {
  return (shared_ != nullptr && shared_->HasAllMemory()) || stream_->MayReserve();
}

bool ServedRun::Reserve(bool claim) {
  return (shared_ != nullptr && shared_->HasAllMemory()) || stream_->Reserve(claim);
}

uint8_t* ServedRun::Buffer(uint32_t index, uint64_t offset, uint64_t bytes) {
  return shared_ == nullptr ? nullptr : shared_->Buffer(index, offset, bytes);
}

absl::Status ServedRun::Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                             absl::FunctionRef<void(bool)> waits) {
  answers_->Show(index);
  return Give(index, offset, 1, std::move(tensor), waits);
}

absl::Status ServedRun::EmitTogether(uint32_t first, uint32_t count, at::Tensor tensors,
                                     absl::FunctionRef<void(bool)> waits) {
  return Give(first, 0, count, std::move(tensors), waits);
}

absl::Status ServedRun::Give(uint32_t index, uint64_t offset, uint32_t count, at::Tensor tensor,
                             absl::FunctionRef<void(bool)> waits) {
  if (shared_ != nullptr) {
    if (const std::optional<uint64_t> at = shared_->Find(tensor.const_data_ptr())) {
      return stream_->EmitShared(index, offset, tensor.nbytes(), *at, count);
    }
  }
  return stream_->Emit(index, offset, std::move(tensor), waits, count);
}

absl::Status ServedRun::Progress(int layers_done) {
  HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.status());
  return stream_->Progress(layers_done);
}

absl::StatusOr<std::vector<at::Tensor>> ServedRun::AwaitAnswer(
    const OpPlan& op, absl::FunctionRef<absl::Status()> keep_waiting) {
  stream_->SetBlocked(true);
  auto answers = answers_->Await(op, [&] {
    // The stream fails if its reader stalls, and at shutdown.
    const absl::Status status = stream_->status();
    return status.ok() ? keep_waiting() : status;
  });
  stream_->SetBlocked(false);
  return answers;
}

void ServedRun::Complete(RunOutcome outcome) {
  // Before the receipt: a client that has it may start its next run.
  shared_ = nullptr;
  const absl::Status status = Guarded([&]() -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(outcome.status);
    // A receipt states that everything was computed from the weights that it names.
    HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.Check());
    stream_->End(MakeReceipt(id_, backend_.weights_digest(), backend_.server, *plan_, outcome));
    return absl::OkStatus();
  });
  (void)Guarded([&] {
    if (!status.ok()) stream_->Fail(status);
    outcome.status = status;
    Log(outcome);
    return absl::OkStatus();
  });
}

}  // namespace hookwire::server
