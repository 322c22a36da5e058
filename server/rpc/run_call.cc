#include "server/rpc/run_call.h"

#include <grpc/grpc.h>

#include <utility>

#include "hookwire/v1/service.pb.h"
#include "server/observe/run_log.h"
#include "server/rpc/codec.h"
#include "server/rpc/receipt.h"
#include "server/rpc/status.h"

namespace hookwire::server {

RunCall* RunCall::Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, const grpc::ByteBuffer& request) {
  const std::shared_ptr<RunCall> call(new RunCall(backend, std::move(id), context));
  call->self_ = call;
  call->Begin(request, call);
  // gRPC calls nothing before it has been given the reactor, so that the call is still there.
  return call.get();
}

void RunCall::Begin(const grpc::ByteBuffer& request, const std::shared_ptr<RunCall>& self) {
  v1::RunRequest message;
  if (absl::Status status = DecodeRequest(request, message); !status.ok()) return Refuse(status);
  absl::StatusOr<std::shared_ptr<const RunPlan>> plan = backend_.planner.Plan(message.spec());
  if (!plan.ok()) return Refuse(plan.status());
  plan_ = *std::move(plan);

  ResultStream::Options options;
  options.max_message_bytes = plan_->max_message_bytes;
  stream_.emplace(options, backend_.budget.Open(plan_->total_bytes),
                  static_cast<MessageWriter&>(*this), backend_.clock);
  backend_.streams.Add(&*stream_);

  auto run = std::make_unique<QueuedRun>();
  run->id = id_;
  run->plan = plan_;
  run->output = std::shared_ptr<RunOutput>(self, this);
  run->deadline = absl::FromChrono(context_.deadline());
  const absl::StatusOr<uint32_t> ahead = backend_.scheduler.Enqueue(run);
  if (!ahead.ok()) {
    RunOutcome outcome;
    outcome.status = ahead.status();
    return Complete(std::move(outcome));
  }
  // The worker may have begun by now: what it emits waits for this.
  v1::Accepted accepted;
  accepted.set_run_id(id_);
  *accepted.mutable_plan() = backend_.planner.Describe(*plan_);
  accepted.set_queue_position(*ahead);
  stream_->Open(accepted);
}

void RunCall::Refuse(const absl::Status& status) {
  grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(ToGrpcStatus(status));
  RunOutcome outcome;
  outcome.status = status;
  Log(outcome);
}

void RunCall::Log(const RunOutcome& outcome) const {
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

void RunCall::OnWriteDone(bool ok) {
  message_.Clear();
  stream_->OnWritten(ok);
}

void RunCall::OnCancel() {
  if (!stream_.has_value()) return;
  stream_->Cancel(absl::CancelledError("the client has gone or has cancelled the run"));
  backend_.scheduler.Cancel(id_);
}

void RunCall::OnDone() {
  if (stream_.has_value()) backend_.streams.Remove(&*stream_);
  // Often the last reference.
  const std::shared_ptr<RunCall> self = std::move(self_);
}

void RunCall::Write(const grpc::ByteBuffer& message) {
  message_ = message;
  StartWrite(&message_);
}

void RunCall::WriteAndClose(const grpc::ByteBuffer& message) {
  message_ = message;
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void RunCall::Close(const absl::Status& status) {
  grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(ToGrpcStatus(status));
}

void RunCall::Break(const absl::Status& status) {
  // Unlike ServerContext::TryCancel, this tells the client why.
  const grpc::Status told = ToGrpcStatus(status);
  grpc_call_cancel_with_status(context_.c_call(), static_cast<grpc_status_code>(told.error_code()),
                               told.error_message().c_str(), nullptr);
}

absl::Status RunCall::Emit(uint32_t index, uint64_t offset, at::Tensor tensor) {
  return stream_->Emit(index, offset, std::move(tensor));
}

absl::Status RunCall::Progress(int layers_done) { return stream_->Progress(layers_done); }

void RunCall::Complete(RunOutcome outcome) {
  if (outcome.status.ok()) {
    stream_->End(MakeReceipt(id_, backend_.weights_digest(), backend_.server, *plan_, outcome));
  } else {
    stream_->Fail(outcome.status);
  }
  Log(outcome);
}

}  // namespace hookwire::server
