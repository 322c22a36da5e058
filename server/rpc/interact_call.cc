#include "server/rpc/interact_call.h"

#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"
#include "server/rpc/codec.h"
#include "server/rpc/handover.h"
#include "server/rpc/status.h"

namespace hookwire::server {
namespace {

absl::Status Unexpected(const char* message) {
  return MakeError(message, {v1::ERROR_REASON_UNEXPECTED_MESSAGE, "", {}});
}

// What a client sends is in its messages.
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

InteractCall* InteractCall::Start(const Backend& backend, std::string id,
                                  grpc::CallbackServerContext& context) {
  const std::shared_ptr<InteractCall> call(new InteractCall(backend, std::move(id), context));
  call->self_ = call;
  call->ReadNext();
  // gRPC calls nothing before it has been given the reactor, so that the call is still there.
  return call.get();
}

void InteractCall::ReadNext() {
  HandOver(this);
  StartRead(&received_);
}

void InteractCall::OnReadDone(bool ok) {
  TakeOver(this);
  const absl::Cleanup hand_over = [this] { HandOver(this); };
  const absl::Status status = ok ? Take(received_) : TakeEnd();
  if (!status.ok()) return End(status);
  if (!ok) return;
  received_.Clear();
  ReadNext();
}

absl::Status InteractCall::Take(const grpc::ByteBuffer& bytes) {
  v1::InteractRequest request;
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(bytes, request));
  if (!has_spec_ && !request.has_spec()) return Unexpected("the first message must be the spec");
  switch (request.message_case()) {
    case v1::InteractRequest::kSpec:
      if (has_spec_) return Unexpected("a second spec: a call is one run");
      return TakeSpec(*request.mutable_spec());
    case v1::InteractRequest::kUpload:
      HOOKWIRE_RETURN_IF_ERROR(CheckPieces(request.upload(), "upload"));
      return TakeUpload(request.upload());
    case v1::InteractRequest::kAnswer:
      if (!session_.begun()) return Unexpected("an answer before the run has begun");
      HOOKWIRE_RETURN_IF_ERROR(CheckPieces(request.answer(), "answer"));
      return session_.answers().Take(request.answer());
    case v1::InteractRequest::kKeep:
      if (!session_.begun()) return Unexpected("an answer before the run has begun");
      return session_.answers().Take(request.keep());
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
  return BeginIfComplete();
}

absl::Status InteractCall::TakeUpload(const v1::TensorChunks& pieces) {
  HOOKWIRE_RETURN_IF_ERROR(uploads_.Take(pieces));
  return BeginIfComplete();
}

absl::Status InteractCall::BeginIfComplete() {
  if (!uploads_.complete()) return absl::OkStatus();
  const v1::RunSpec spec = std::exchange(spec_, v1::RunSpec());
  absl::MutexLock lock(&mutex_);
  if (cancelled_) return ClientGone();
  return session_.Begin(spec, Planner::Client::kAnswers, absl::FromChrono(context_.deadline()),
                        self_);
}

absl::Status InteractCall::TakeEnd() {
  // A cancelled call ends here too.
  if (context_.IsCancelled()) return ClientGone();
  if (!has_spec_) return Unexpected("the client sent no spec");
  if (!session_.begun()) return Unexpected("the client sent no more before all uploads had come");
  session_.answers().Close(
      Unexpected("the client has closed its side, and a callback waits for an answer"));
  return absl::OkStatus();
}

void InteractCall::End(const absl::Status& status) {
  if (session_.begun()) return session_.Cancel(status);
  Refuse(status);
}

void InteractCall::OnCancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  session_.Cancel(ClientGone());
}

}  // namespace hookwire::server
