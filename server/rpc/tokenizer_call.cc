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
  auto* const call = new TokenizerCall(backend.tokenizer, std::move(caller));
  call->Step([&]() -> absl::Status {
    v1::GetTokenizerRequest message;
    HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(request, message));
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend, message.load_id()));
    HOOKWIRE_RETURN_IF_ERROR(backend.tokenizer.Check());
    return call->WriteNext();
  });
  return call;
}

absl::Status TokenizerCall::WriteNext() {
  if (file_ == files_.files().size()) {
    Finish(grpc::Status::OK);
    return absl::OkStatus();
  }
  const TokenizerFiles::File& file = files_.files()[file_];
  v1::GetTokenizerResponse chunk;
  chunk.set_name(file.name);
  chunk.set_size(file.content.size());
  chunk.set_data(file.content.substr(offset_, kChunkBytes));
  offset_ += chunk.data().size();
  if (offset_ == file.content.size()) {
    ++file_;
    offset_ = 0;
  }
  message_ = EncodeMessage(chunk);
  StartWrite(&message_);
  return absl::OkStatus();
}

void TokenizerCall::OnWriteDone(bool ok) {
  Step([&] {
    message_.Clear();
    return ok ? WriteNext() : ClientGone();
  });
}

}  // namespace hookwire::server
