#include "server/rpc/interact_call.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/request_cost.h"
#include "server/rpc/check_load.h"
#include "server/rpc/codec.h"

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

// Refuses a message of so many small parts that it would take more memory than was charged for it.
absl::Status CheckParts(const grpc::ByteBuffer& message, const v1::InteractRequest& request) {
  const uint64_t bytes = DecodedBytes(message, request);
  if (bytes <= kMaxDecodedBytes) return absl::OkStatus();
  return MakeError(absl::StrCat("a message with uploads or answers takes ", bytes,
                                " bytes when it is parsed, of at most ", kMaxDecodedBytes,
                                ": send fewer parts in one message"),
                   {v1::ERROR_REASON_UNEXPECTED_MESSAGE, "", {}});
}

}  // namespace

absl::Status InteractCall::Receive(const grpc::ByteBuffer& message) {
  if (!has_spec_) return ReceiveFirst(message);
  v1::InteractRequest request;
  HOOKWIRE_RETURN_IF_ERROR(CheckParts(message, request));
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(message, request));
  HOOKWIRE_RETURN_IF_ERROR(Take(request));
  Read();
  return absl::OkStatus();
}

absl::Status InteractCall::ReceiveFirst(const grpc::ByteBuffer& message) {
  const auto work = [this](const v1::InteractRequest& request) {
    return PlanningWork(request.spec(), backend_.catalogue);
  };
  const auto take = [this](v1::InteractRequest& request) -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(Take(request));
    Read();
    return absl::OkStatus();
  };
  return Parse<v1::InteractRequest>(message, work, take);
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
  // Before the uploads come: their bytes, those of the copies that planning makes of values, and
  // those of the messages.
  HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(
      uploads_.bytes() + ValueBytes(spec_, backend_.compute_dtype) + kMaxRequestBytes));
  return BeginIfComplete();
}

absl::Status InteractCall::TakeUpload(const v1::TensorChunks& pieces) {
  HOOKWIRE_RETURN_IF_ERROR(uploads_.Take(pieces));
  return BeginIfComplete();
}

absl::Status InteractCall::BeginIfComplete() {
  if (run_.begun() || !uploads_.complete()) return absl::OkStatus();
  const v1::RunSpec spec = std::exchange(spec_, v1::RunSpec());
  return Begin(spec, Planner::Client::kAnswers);
}

absl::Status InteractCall::ReceiveEnd() {
  if (!has_spec_) return Unexpected("the client sent no spec");
  if (!run_.begun()) return Unexpected("the client sent no more before all uploads had come");
  run_.answers().Close(
      Unexpected("the client has closed its side, and a callback waits for an answer"));
  return absl::OkStatus();
}

}  // namespace hookwire::server
