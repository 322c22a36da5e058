// Requests off the wire.
//
// All methods take raw bytes, so that bytes which are no message, and fields that this server does
// not know, get the same answer from each of them.
#ifndef HOOKWIRE_SERVER_RPC_CODEC_H_
#define HOOKWIRE_SERVER_RPC_CODEC_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"

namespace hookwire::server {

// Parses the whole request. InvalidArgument: MALFORMED_REQUEST where the bytes are no such message,
// UNKNOWN_FIELD where it has a field that this server does not know.
absl::Status DecodeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_CODEC_H_
