// How a stream writes messages. Implemented by rpc/ with gRPC, and by a fake reader in tests.
#ifndef HOOKWIRE_SERVER_STREAM_MESSAGE_WRITER_H_
#define HOOKWIRE_SERVER_STREAM_MESSAGE_WRITER_H_

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"

namespace hookwire::server {

// Called by one thread at a time. Calls do not block, and do not call back into the stream before
// they return.
class MessageWriter {
 public:
  virtual ~MessageWriter() = default;

  // Sends a message. Until ResultStream::OnWritten is called, the stream calls nothing else but
  // Break.
  virtual void Write(const grpc::ByteBuffer& message) = 0;
  // Sends the last message and an OK status. No call follows.
  virtual void WriteAndClose(const grpc::ByteBuffer& message) = 0;
  // Ends the call. No call follows.
  virtual void Close(const absl::Status& status) = 0;

  // Ends the call at once, also while a message is being written or after the last call above:
  // drops what the transport has queued, and tells the reader `status` if the transport still can.
  // Any thread.
  virtual void Break(const absl::Status& status) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_MESSAGE_WRITER_H_
