#include "server/rpc/tokenizer_call.h"

#include <vector>

#include "hookwire/v1/service.pb.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"
#include "server/rpc/tokenizer_files.h"
#include "server/stream/encoding.h"

namespace hookwire::server {

absl::Status TokenizerCall::Receive(const grpc::ByteBuffer& bytes) {
  const auto no_work = [](const v1::GetTokenizerRequest&) { return uint64_t{0}; };
  const auto open = [this](const v1::GetTokenizerRequest& request) -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, request.load_id()));
    HOOKWIRE_RETURN_IF_ERROR(backend_.tokenizer.Check());
    // A chunk, and the message that is made of it.
    HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(2 * kChunkBytes));
    return Sent();
  };
  return Parse<v1::GetTokenizerRequest>(bytes, no_work, open);
}

// Sends the next chunk of at most kChunkBytes; an empty file is one empty chunk.
absl::Status TokenizerCall::Sent() {
  const std::vector<TokenizerFiles::File>& files = backend_.tokenizer.files();
  if (file_ == files.size()) {
    EndWithOk();
    return absl::OkStatus();
  }
  const TokenizerFiles::File& file = files[file_];
  v1::GetTokenizerResponse chunk;
  chunk.set_name(file.name);
  chunk.set_size(file.content.size());
  chunk.set_data(file.content.substr(offset_, kChunkBytes));
  offset_ += chunk.data().size();
  if (offset_ == file.content.size()) {
    ++file_;
    offset_ = 0;
  }
  Send(EncodeMessage(chunk));
  return absl::OkStatus();
}

}  // namespace hookwire::server
