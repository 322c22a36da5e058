#include "tests/e2e/support/raw_call.h"

#include <grpcpp/create_channel.h>

#include <chrono>

#include "client/cpp/src/error.h"
#include "client/cpp/src/raw_stream.h"

namespace hookwire::e2e {
namespace {

std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

RawAnswer CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                  const std::string& request, absl::Duration timeout) {
  const grpc::Slice slice(request);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout));
  client::RawStream<grpc::ByteBuffer> stream(channel, method, context, grpc::ByteBuffer(&slice, 1));
  RawAnswer answer;
  grpc::ByteBuffer message;
  while (stream.Read(message)) answer.messages.push_back(ToString(message));
  answer.status = client::FromGrpc(stream.Finish());
  return answer;
}

}  // namespace hookwire::e2e
