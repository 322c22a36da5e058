// The reactor of one GetTokenizer call.
#ifndef HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
#define HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/guard.h"
#include "server/rpc/status.h"
#include "server/rpc/tokenizer_files.h"

namespace hookwire::server {

// Sends one chunk at a time, on gRPC's threads. Deletes itself when the call is over.
class TokenizerCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  static constexpr size_t kChunkBytes = 1u << 20;

  // Sends the backend's tokenizer files, or an error.
  static TokenizerCall* Start(const Backend& backend, Caller caller,
                              const grpc::ByteBuffer& request);

 private:
  TokenizerCall(const TokenizerFiles& files, Caller caller)
      : caller_(std::move(caller)), files_(files) {}

  // Sends the next chunk of at most kChunkBytes; an empty file is one empty chunk.
  absl::Status WriteNext();
  // Runs what gRPC calls: an error, or an exception, ends the call.
  template <typename Body>
  void Step(Body&& body) {
    const absl::Status status = Guarded(std::forward<Body>(body));
    if (!status.ok()) Finish(ToGrpcStatus(status));
  }

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

  const Caller caller_;
  const TokenizerFiles& files_;
  // What WriteNext sends next: a file, and the first byte in it.
  size_t file_ = 0;
  size_t offset_ = 0;
  grpc::ByteBuffer message_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
