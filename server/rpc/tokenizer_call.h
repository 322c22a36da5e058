// One call of GetTokenizer.
#ifndef HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
#define HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/guard.h"
#include "server/rpc/status.h"
#include "server/rpc/tokenizer_files.h"

namespace hookwire::server {

// Reads and writes one chunk at a time, on gRPC's threads. Deletes itself when the call is over.
class TokenizerCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // Sends the files of the backend's checkpoint, or an error.
  static TokenizerCall* Start(const Backend& backend, Caller caller,
                              const grpc::ByteBuffer& request);

 private:
  explicit TokenizerCall(Caller caller) : caller_(std::move(caller)) {}

  absl::Status WriteNext();
  // Of what gRPC calls: an error, or an exception, ends the call.
  template <typename Body>
  void Step(Body&& body) {
    const absl::Status status = Guarded(std::forward<Body>(body));
    if (!status.ok()) Finish(ToGrpcStatus(status));
  }

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

  const Caller caller_;
  std::optional<TokenizerFiles> files_;
  grpc::ByteBuffer message_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_TOKENIZER_CALL_H_
