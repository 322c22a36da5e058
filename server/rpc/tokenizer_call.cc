#include "server/rpc/tokenizer_call.h"

#include "absl/status/statusor.h"
#include "hookwire/v1/service.pb.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"
#include "server/rpc/codec.h"
#include "server/stream/encoding.h"

namespace hookwire::server {

TokenizerCall* TokenizerCall::Start(const Backend& backend, Caller caller,
                                    const grpc::ByteBuffer& request) {
  auto* const call = new TokenizerCall(std::move(caller));
  call->Step([&]() -> absl::Status {
    v1::GetTokenizerRequest message;
    HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(request, message));
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend, message.load_id()));
    HOOKWIRE_ASSIGN_OR_RETURN(call->files_, TokenizerFiles::Open(backend.directory));
    return call->WriteNext();
  });
  return call;
}

absl::Status TokenizerCall::WriteNext() {
  v1::GetTokenizerResponse chunk;
  HOOKWIRE_ASSIGN_OR_RETURN(const bool more, files_->Next(chunk));
  if (more) {
    message_ = EncodeMessage(chunk);
    StartWrite(&message_);
  } else {
    Finish(grpc::Status::OK);
  }
  return absl::OkStatus();
}

void TokenizerCall::OnWriteDone(bool ok) {
  Step([&] {
    message_.Clear();
    return ok ? WriteNext() : ClientGone();
  });
}

}  // namespace hookwire::server
