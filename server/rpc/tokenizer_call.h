// The reactor of one GetTokenizer call.
#ifndef HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
#define HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/served_call.h"

namespace hookwire::server {

// Sends the backend's tokenizer files, one chunk at a time, or an error.
class TokenizerCall final : public ServedCall {
 public:
  static constexpr size_t kChunkBytes = 1u << 20;

  // `backend` must outlive the call.
  TokenizerCall(const Backend& backend, grpc::CallbackServerContext& context, Caller caller)
      : ServedCall(backend, backend.calls, context, std::move(caller)) {}

 private:
  absl::Status Receive(const grpc::ByteBuffer& message) override;
  absl::Status Sent() override;

  // What is sent next: a file, and the first byte in it.
  size_t file_ = 0;
  size_t offset_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
