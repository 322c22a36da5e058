#include "server/rpc/interact_call.h"

#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/request_cost.h"
#include "server/rpc/check_load.h"
#include "server/rpc/codec.h"
#include "server/rpc/guard.h"
#include "server/rpc/handle_request.h"
#include "server/rpc/handover.h"
#include "server/rpc/status.h"

namespace hookwire::server {
namespace {

absl::Status Unexpected(const char* message) {
  return MakeError(message, {v1::ERROR_REASON_UNEXPECTED_MESSAGE, "", {}});
}

// Shared memory is only for results: a client's tensors must be in its messages.
absl::Status CheckPieces(const v1::TensorChunks& pieces, const char* field) {
  for (const v1::TensorChunk& piece : pieces.chunks()) {
    if (piece.shared_bytes() == 0 && piece.shared_offset() == 0) continue;
    return MakeError(absl::StrCat(field,
                                  " says that bytes lie in shared memory: only the server's "
                                  "results can; send them in `data`"),
                     {v1::ERROR_REASON_BAD_FIELD, absl::StrCat(field, ".chunks"), {}});
  }
  return absl::OkStatus();
}

}  // namespace

InteractCall::InteractCall(const Backend& backend, std::string id,
                           grpc::CallbackServerContext& context, Caller caller)
    : RunReactor(backend, std::move(id), context, std::move(caller)), pace_(backend.clock.Now()) {}

InteractCall* InteractCall::Start(const Backend& backend, std::string id,
                                  grpc::CallbackServerContext& context, Caller caller) {
  const std::shared_ptr<InteractCall> call(
      new InteractCall(backend, std::move(id), context, std::move(caller)));
  call->self_ = call;
  const absl::Status status = Guarded([&] {
    backend.requests.Add(call.get());
    return absl::OkStatus();
  });
  if (status.ok()) {
    call->ReadNext();
  } else {
    call->End(status);
  }
  // gRPC calls the reactor only after this function has returned it, so the call still exists.
  return call.get();
}

void InteractCall::ReadNext() {
  absl::Status abandoned;
  {
    absl::MutexLock lock(&mutex_);
    abandoned = abandoned_;
    if (abandoned.ok() && !run_.begun()) phase_ = Phase::kReading;
  }
  if (!abandoned.ok()) return End(abandoned);
  HandOver(this);
  StartRead(&received_);
}

bool InteractCall::StartHandling(bool received) {
  const absl::Time now = backend_.clock.Now();
  absl::MutexLock lock(&mutex_);
  if (phase_ == Phase::kOver) return false;
  phase_ = Phase::kHandling;
  pace_.Received(now, received ? received_.Length() : 0);
  return true;
}

void InteractCall::OnReadDone(bool ok) {
  TakeOver(this);
  const absl::Cleanup hand_over = [this] { HandOver(this); };
  const std::shared_ptr<void> self = self_;
  if (!run_.begun() && !StartHandling(ok)) return;
  // The first message may be handled later on another thread, which then reads the next one.
  const bool is_first = !has_spec_;
  const absl::Status status = Guarded([&] { return Handle(ok); });
  if (!status.ok()) return End(status);
  if (ok && !is_first) ReadNext();
}

absl::Status InteractCall::Handle(bool received) {
  if (!received) return TakeEnd();
  if (!has_spec_) return HandleFirst();
  v1::InteractRequest request;
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(received_, request));
  received_.Clear();
  return Take(request);
}

absl::Status InteractCall::HandleFirst() {
  HOOKWIRE_RETURN_IF_ERROR(run_.Hold(received_.Length()));
  const auto work = [this](const v1::InteractRequest& request) {
    return PlanningWork(request.spec(), backend_.catalogue);
  };
  const auto handle = [this](const auto& decode) {
    const std::shared_ptr<void> self = self_;
    TakeOver(this);
    const absl::Status status = Guarded([&]() -> absl::Status {
      HOOKWIRE_RETURN_IF_ERROR(run_.KeepGoing());
      HOOKWIRE_ASSIGN_OR_RETURN(v1::InteractRequest request, decode());
      return Take(request);
    });
    HandOver(this);
    if (!status.ok()) return End(status);
    ReadNext();
  };
  const grpc::ByteBuffer first = std::exchange(received_, grpc::ByteBuffer());
  return HandleRequest<v1::InteractRequest>(backend_.planning_threads, run_.client(), first, work,
                                            handle);
}

absl::Status InteractCall::Take(v1::InteractRequest& request) {
  if (!has_spec_ && !request.has_spec()) return Unexpected("the first message must be the spec");
  switch (request.message_case()) {
    case v1::InteractRequest::kSpec:
      if (has_spec_) return Unexpected("a second spec: a call is one run");
      return TakeSpec(*request.mutable_spec());
    case v1::InteractRequest::kUpload:
      HOOKWIRE_RETURN_IF_ERROR(CheckPieces(request.upload(), "upload"));
      return TakeUpload(request.upload());
    case v1::InteractRequest::kAnswer:
      if (!run_.begun()) return Unexpected("an answer before the run has begun");
      HOOKWIRE_RETURN_IF_ERROR(CheckPieces(request.answer(), "answer"));
      return run_.answers().Take(request.answer());
    case v1::InteractRequest::kKeep:
      if (!run_.begun()) return Unexpected("an answer before the run has begun");
      return run_.answers().Take(request.keep());
    case v1::InteractRequest::MESSAGE_NOT_SET:
      break;
  }
  return Unexpected("a message without spec, upload, answer or keep");
}

absl::Status InteractCall::TakeSpec(v1::RunSpec& spec) {
  HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, spec.load_id()));
  has_spec_ = true;
  spec_ = std::move(spec);
  HOOKWIRE_ASSIGN_OR_RETURN(uploads_, Uploads::Of(spec_, backend_.max_upload_bytes));
  // Before the uploads come: their bytes, and those of the copies that planning makes of values.
  HOOKWIRE_RETURN_IF_ERROR(run_.Hold(spec_.SpaceUsedLong() + uploads_.bytes() +
                                     ValueBytes(spec_, backend_.compute_dtype)));
  return BeginIfComplete();
}

absl::Status InteractCall::TakeUpload(const v1::TensorChunks& pieces) {
  HOOKWIRE_RETURN_IF_ERROR(uploads_.Take(pieces));
  return BeginIfComplete();
}

absl::Status InteractCall::BeginIfComplete() {
  if (run_.begun() || !uploads_.complete()) return absl::OkStatus();
  const v1::RunSpec spec = std::exchange(spec_, v1::RunSpec());
  HOOKWIRE_RETURN_IF_ERROR(run_.Begin(spec, Planner::Client::kAnswers, self_));
  LeaveRequests();
  return absl::OkStatus();
}

absl::Status InteractCall::TakeEnd() {
  // A read also fails when the call has been cancelled.
  if (context_.IsCancelled()) return ClientGone();
  if (!has_spec_) return Unexpected("the client sent no spec");
  if (!run_.begun()) return Unexpected("the client sent no more before all uploads had come");
  run_.answers().Close(
      Unexpected("the client has closed its side, and a callback waits for an answer"));
  return absl::OkStatus();
}

void InteractCall::End(const absl::Status& status) {
  if (run_.begun()) return EndIfThrown([&] { run_.Cancel(status); });
  LeaveRequests();
  Refuse(status);
}

void InteractCall::OnDone() {
  backend_.requests.Remove(this);
  RunReactor::OnDone();
}

void InteractCall::LeaveRequests() {
  {
    absl::MutexLock lock(&mutex_);
    phase_ = Phase::kOver;
  }
  // Without the mutex: the registry calls Abandon, which takes it, under the registry's own.
  backend_.requests.Remove(this);
}

absl::Time InteractCall::waiting_since() const {
  absl::MutexLock lock(&mutex_);
  return phase_ == Phase::kReading ? pace_.waiting_since() : absl::InfiniteFuture();
}

absl::Status InteractCall::StallError(absl::Duration timeout) const {
  const std::string seconds = absl::StrCat(absl::ToDoubleSeconds(timeout));
  return MakeError(absl::StrCat("the rest of the request did not come: for ", seconds,
                                " s the client has sent nothing, or less than ",
                                RequestPace::kLeastBytesPerSecond >> 10,
                                " KiB a second; send the spec and all uploads without a pause"),
                   {v1::ERROR_REASON_SENDER_STALLED, "", {{"seconds", seconds}}});
}

void InteractCall::Abandon(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ == Phase::kOver) return;
    if (phase_ == Phase::kHandling) {
      if (abandoned_.ok()) abandoned_ = status;
      return;
    }
    phase_ = Phase::kOver;
  }
  // gRPC ends the read that is outstanding. OnDone removes the call from the registry.
  Refuse(status);
}

}  // namespace hookwire::server
