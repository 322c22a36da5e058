#include "server/rpc/codec.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/plan/unknown_fields.h"

namespace hookwire::server {

absl::Status DecodeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request) {
  // ProtoBufferReader takes a pointer to a mutable buffer, but only reads it.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  if (!reader.status().ok() || !request.ParseFromZeroCopyStream(&reader)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     absl::StrCat("the request's ", bytes.Valid() ? bytes.Length() : 0,
                                  " bytes are no ", request.GetDescriptor()->full_name()),
                     {v1::ERROR_REASON_MALFORMED_REQUEST, "", {}});
  }
  return RejectUnknownFields(request);
}

}  // namespace hookwire::server
