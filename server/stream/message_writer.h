// The transport, as a stream sees it. Implemented by rpc/ over gRPC, and by a fake reader in tests.
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

  // Sends a message. The stream waits for ResultStream::OnWritten before the next call, Break
  // apart.
  virtual void Write(const grpc::ByteBuffer& message) = 0;
  // Sends the last message and an OK status. No call follows.
  virtual void WriteAndClose(const grpc::ByteBuffer& message) = 0;
  // Ends the call. No call follows.
  virtual void Close(const absl::Status& status) = 0;

  // Breaks the call off, with a write outstanding or after the last call above: what the transport
  // holds is dropped, and the reader is told `status` as well as the transport can. From any
  // thread.
  virtual void Break(const absl::Status& status) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_MESSAGE_WRITER_H_
