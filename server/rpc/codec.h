// Parses requests.
//
// All methods take raw bytes, so that each of them gives the same errors for bytes that cannot be
// parsed, and for fields that this server does not know.
#ifndef HOOKWIRE_SERVER_RPC_CODEC_H_
#define HOOKWIRE_SERVER_RPC_CODEC_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "absl/status/status.h"

namespace hookwire::server {

// Parses the whole request. InvalidArgument: MALFORMED_REQUEST if the bytes are not such a message,
// UNKNOWN_FIELD if it has a field that this server does not know.
absl::Status DecodeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);

// About how many bytes the request takes when it is parsed, found without parsing it: an empty
// message of 2 bytes becomes an object of some 100. Of bytes that cannot be parsed, what comes
// before the fault.
uint64_t DecodedBytes(const grpc::ByteBuffer& bytes, const google::protobuf::Message& request);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_CODEC_H_
