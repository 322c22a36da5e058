#include "server/rpc/served_call.h"

#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/rpc/handover.h"
#include "server/rpc/status.h"

namespace hookwire::server {

ServedCall::ServedCall(const Backend& backend, StreamRegistry& registry,
                       grpc::CallbackServerContext& context, Caller caller)
    : backend_(backend),
      context_(context),
      caller_(std::move(caller)),
      memory_(backend.request_memory.Open(caller_.principal.key)),
      registry_(registry),
      deadline_(absl::FromChrono(context.deadline())) {}

ServedCall* ServedCall::Start(const std::shared_ptr<ServedCall>& call) {
  call->self_ = call;
  const absl::Status status = Guarded([&]() -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(call->memory_->Grow(kUnreadBytes));
    call->registry_.Add(call.get());
    call->backend_.reads.Ask(call->caller_.principal.key,
                             std::shared_ptr<RequestReads::Reader>(call, call.get()));
    return absl::OkStatus();
  });
  if (!status.ok() && call->Handle(Phase::kQueued)) call->Fail(status);
  return call.get();
}

absl::Status ServedCall::KeepGoing() const {
  if (cancelled_) return ClientGone();
  {
    absl::MutexLock lock(&mutex_);
    if (!abandoned_.ok()) return abandoned_;
  }
  if (backend_.clock.Now() < deadline_) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed before there was an answer");
}

absl::Status ServedCall::ReceiveEnd() {
  return MakeError("the call has ended without a request",
                   {v1::ERROR_REASON_MALFORMED_REQUEST, "", {}});
}

absl::Status ServedCall::Sent() { return absl::OkStatus(); }

void ServedCall::TurnCame() {
  const absl::Time now = backend_.clock.Now();
  {
    absl::MutexLock lock(&mutex_);
    // Otherwise the call has ended while it waited.
    if (phase_ == Phase::kQueued) {
      has_turn_ = true;
      pace_.emplace(now);
      return StartReading();
    }
  }
  backend_.reads.GiveBack(caller_.principal.key);
}

// Under the mutex: if Abandon came between the two steps, it would end the call before the read
// begins.
void ServedCall::StartReading() {
  phase_ = Phase::kReading;
  HandOverCall();
  StartRead(&received_);
}

void ServedCall::GiveTurnBack() {
  {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(has_turn_, false)) return;
  }
  backend_.reads.GiveBack(caller_.principal.key);
}

bool ServedCall::Handle(Phase from) {
  absl::MutexLock lock(&mutex_);
  if (phase_ != from) return false;
  phase_ = Phase::kHandling;
  return true;
}

void ServedCall::OnReadDone(bool ok) {
  TakeOverCall();
  const auto self = shared_from_this();
  const absl::Time now = backend_.clock.Now();
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ != Phase::kReading && phase_ != Phase::kLeft) return;
    if (phase_ == Phase::kReading) phase_ = Phase::kHandling;
    pace_->Received(now, ok ? received_.Length() : 0);
  }
  const absl::Status status = Guarded([&] { return HandleMessage(ok); });
  HandOverCall();
  if (!status.ok()) Fail(status);
}

absl::Status ServedCall::HandleMessage(bool ok) {
  const grpc::ByteBuffer message = std::exchange(received_, grpc::ByteBuffer());
  {
    const absl::Cleanup turn_is_over = [this] { GiveTurnBack(); };
    // A read also fails when the call has been cancelled.
    if (!ok) return context_.IsCancelled() ? ClientGone() : ReceiveEnd();
    if (!std::exchange(has_request_, true)) {
      HOOKWIRE_RETURN_IF_ERROR(memory_->Resize(message.Length()));
    }
  }
  return Receive(message);
}

void ServedCall::Read() {
  absl::Status abandoned;
  {
    absl::MutexLock lock(&mutex_);
    abandoned = abandoned_;
    if (phase_ == Phase::kLeft) {
      HandOverCall();
      return StartRead(&received_);
    }
    if (abandoned.ok()) return StartReading();
  }
  Fail(abandoned);
}

absl::Status ServedCall::StartSending() {
  const absl::Time now = backend_.clock.Now();
  absl::MutexLock lock(&mutex_);
  phase_ = Phase::kSending;
  sending_since_ = now;
  return abandoned_;
}

void ServedCall::Send(const grpc::ByteBuffer& message) {
  const absl::Status abandoned = StartSending();
  if (!abandoned.ok()) return Fail(abandoned);
  message_ = message;
  HandOverCall();
  StartWrite(&message_);
}

void ServedCall::SendLast(const grpc::ByteBuffer& message) {
  const absl::Status abandoned = StartSending();
  if (!abandoned.ok()) return Fail(abandoned);
  message_ = message;
  HandOverCall();
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void ServedCall::Refuse(const absl::Status& status) {
  const absl::Status abandoned = StartSending();
  HandOverCall();
  Finish(ToGrpcStatus(status.ok() ? abandoned : status));
}

void ServedCall::OnWriteDone(bool ok) {
  TakeOverCall();
  const auto self = shared_from_this();
  if (!Handle(Phase::kSending)) return;
  message_.Clear();
  const absl::Status status = Guarded([&] { return ok ? Sent() : ClientGone(); });
  HandOverCall();
  if (!status.ok()) Fail(status);
}

void ServedCall::OnCancel() {
  TakeOverCall();
  cancelled_ = true;
  // In the other phases gRPC ends a read or a write, or the thread that handles the call ends it.
  if (Handle(Phase::kQueued)) Fail(ClientGone());
}

void ServedCall::OnDone() {
  TakeOverCall();
  // Often the last reference: this function may destroy the call.
  const std::shared_ptr<ServedCall> self = std::move(self_);
  backend_.reads.Leave(caller_.principal.key, this);
  GiveTurnBack();
  registry_.Remove(this);
}

void ServedCall::LeaveRegistry() {
  {
    absl::MutexLock lock(&mutex_);
    phase_ = Phase::kLeft;
  }
  // Without the mutex: the registry calls Abandon, which takes it, under the registry's own.
  registry_.Remove(this);
}

void ServedCall::Break(const absl::Status& status) { BreakOff(context_.c_call(), status); }

void ServedCall::HandOverCall() { HandOver(this); }
void ServedCall::TakeOverCall() { TakeOver(this); }

absl::Time ServedCall::waiting_since() const {
  absl::MutexLock lock(&mutex_);
  switch (phase_) {
    case Phase::kReading:
      return pace_->waiting_since();
    case Phase::kSending:
      return sending_since_;
    // The turn comes when other calls have been read, which are watched.
    case Phase::kQueued:
    case Phase::kHandling:
    case Phase::kLeft:
      break;
  }
  return absl::InfiniteFuture();
}

absl::Status ServedCall::StallError(absl::Duration timeout) const {
  const std::string seconds = absl::StrCat(absl::ToDoubleSeconds(timeout));
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ == Phase::kSending) {
      return MakeError(absl::StrCat("the client has read nothing of the answer for ", seconds,
                                    " s, so the call was ended"),
                       {v1::ERROR_REASON_READER_STALLED, "", {{"seconds", seconds}}});
    }
  }
  return MakeError(
      absl::StrCat("the rest of the request did not come: for ", seconds,
                   " s the client has sent no whole message, or less than ",
                   RequestPace::kLeastBytesPerSecond >> 10,
                   " KiB a second; send the request, and all uploads, without a pause"),
      {v1::ERROR_REASON_SENDER_STALLED, "", {{"seconds", seconds}}});
}

void ServedCall::Abandon(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    switch (phase_) {
      case Phase::kLeft:
        return;
      case Phase::kHandling:
        if (abandoned_.ok()) abandoned_ = status;
        return;
      case Phase::kSending:
        // Under the mutex, so that the message which is being sent is not another one by now.
        return Break(status);
      case Phase::kQueued:
      case Phase::kReading:
        phase_ = Phase::kHandling;
    }
  }
  // gRPC ends the read that is outstanding. OnDone removes the call from the registry.
  Fail(status);
}

}  // namespace hookwire::server
