// A server-streaming call whose responses are not parsed.
//
// The generated stubs parse every response into a message, which copies its bytes. Here a response
// is the slices in which gRPC received it.
#ifndef HOOKWIRE_CLIENT_CPP_SRC_RAW_STREAM_H_
#define HOOKWIRE_CLIENT_CPP_SRC_RAW_STREAM_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>

namespace hookwire::client {

// One call. The constructor sends the request; then call Read until it returns false, then Finish.
// Thread-compatible; all methods block.
template <typename Request>
class RawStream {
 public:
  // `channel` and `context` must outlive the stream.
  RawStream(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
            grpc::ClientContext& context, const Request& request)
      : context_(context), stub_(channel) {
    call_ = stub_.PrepareCall(&context, method, &queue_);
    call_->StartCall(nullptr);
    if (!Done()) return;
    call_->WriteLast(request, grpc::WriteOptions(), nullptr);
    Done();
  }

  // Cancels the call if Finish has not been called.
  ~RawStream() {
    if (!finished_) {
      context_.TryCancel();
      Finish();
    }
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  RawStream(const RawStream&) = delete;
  RawStream& operator=(const RawStream&) = delete;

  // Reads the next message; false if there are no more, and Finish then returns why.
  bool Read(grpc::ByteBuffer& message) {
    call_->Read(&message, nullptr);
    return Done();
  }

  // The call's status. Messages that have not been read are discarded.
  grpc::Status Finish() {
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Done();
    finished_ = true;
    return status;
  }

 private:
  // Waits for the operation that was started last, and returns whether it succeeded.
  bool Done() {
    void* tag;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::ClientContext& context_;
  grpc::TemplatedGenericStub<Request, grpc::ByteBuffer> stub_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, grpc::ByteBuffer>> call_;
  bool finished_ = false;
};

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_SRC_RAW_STREAM_H_
