#include "server/rpc/tokenizer_call.h"

#include "hookwire/v1/service.pb.h"
#include "server/rpc/status.h"
#include "server/stream/encoding.h"

namespace hookwire::server {

TokenizerCall::TokenizerCall(absl::StatusOr<TokenizerFiles> files) : files_(std::move(files)) {
  if (files_.ok()) {
    WriteNext();
  } else {
    Finish(ToGrpcStatus(files_.status()));
  }
}

void TokenizerCall::WriteNext() {
  v1::GetTokenizerResponse chunk;
  const absl::StatusOr<bool> more = files_->Next(chunk);
  if (!more.ok() || !*more) {
    Finish(ToGrpcStatus(more.status()));
    return;
  }
  message_ = EncodeMessage(chunk);
  StartWrite(&message_);
}

void TokenizerCall::OnWriteDone(bool ok) {
  message_.Clear();
  if (ok) {
    WriteNext();
  } else {
    Finish(grpc::Status::CANCELLED);
  }
}

}  // namespace hookwire::server
