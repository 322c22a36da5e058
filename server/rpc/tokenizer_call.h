// One call of GetTokenizer.
#ifndef HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
#define HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/statusor.h"
#include "server/rpc/tokenizer_files.h"

namespace hookwire::server {

// Reads and writes one chunk at a time, on gRPC's threads. Deletes itself when the call is over.
class TokenizerCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // Sends the files, or the error.
  explicit TokenizerCall(absl::StatusOr<TokenizerFiles> files);

 private:
  void WriteNext();

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

  absl::StatusOr<TokenizerFiles> files_;
  grpc::ByteBuffer message_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
