#include "server/rpc/codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/plan/unknown_fields.h"

namespace hookwire::server {
namespace {

namespace pb = google::protobuf;
using Wire = pb::internal::WireFormatLite;

// Repeated fields and strings grow by doubling.
constexpr uint64_t kGrowth = 2;
// The header of a repeated field's numbers, and the least that is allocated for them.
constexpr uint64_t kBlock = 48;
// As protobuf's own parser.
constexpr int kMaxDepth = 100;

// What a repeated field of numbers needs for `size` bytes of its packed form: a number may be one
// byte there.
uint64_t PackedBytes(const pb::FieldDescriptor& field, uint64_t size) {
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT64:
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      return kGrowth * size *
             (field.type() == pb::FieldDescriptor::TYPE_FIXED64 ? 1 : sizeof(uint64_t));
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return kGrowth * size;
    default:
      return kGrowth * size * sizeof(uint32_t);
  }
}

uint64_t DecodedBytes(pb::io::CodedInputStream& in, const pb::Message& type, int depth) {
  uint64_t total = type.SpaceUsedLong();
  while (const uint32_t tag = in.ReadTag()) {
    const pb::FieldDescriptor* const field =
        type.GetDescriptor()->FindFieldByNumber(Wire::GetTagFieldNumber(tag));
    const Wire::WireType wire_type = Wire::GetTagWireType(tag);
    if (wire_type == Wire::WIRETYPE_START_GROUP || wire_type == Wire::WIRETYPE_END_GROUP) {
      // No message of ours has groups: the parser keeps what is in one as fields that are not
      // known, which take no more than known ones.
      total += kGrowth * sizeof(pb::UnknownField) + sizeof(pb::UnknownFieldSet);
      continue;
    }
    if (wire_type != Wire::WIRETYPE_LENGTH_DELIMITED) {
      // A number of a repeated field, or of a field that is not known.
      total += field == nullptr || field->is_repeated() ? kGrowth * sizeof(pb::UnknownField) : 0;
      if (!Wire::SkipField(&in, tag)) return total;
      continue;
    }
    uint32_t size = 0;
    if (!in.ReadVarint32(&size) || size > std::numeric_limits<int>::max()) return total;
    if (field != nullptr && field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE) {
      if (depth == 0) return total;
      const pb::io::CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(size));
      total +=
          kGrowth * sizeof(void*) +
          DecodedBytes(
              in, *pb::MessageFactory::generated_factory()->GetPrototype(field->message_type()),
              depth - 1);
      if (!in.ConsumedEntireMessage()) return total;
      in.PopLimit(limit);
      continue;
    }
    if (field == nullptr || field->cpp_type() == pb::FieldDescriptor::CPPTYPE_STRING) {
      total += size + sizeof(std::string) + kGrowth * sizeof(pb::UnknownField);
    } else {
      total += PackedBytes(*field, size) + kBlock;
    }
    if (!in.Skip(static_cast<int>(size))) return total;
  }
  return total;
}

}  // namespace

uint64_t DecodedBytes(const grpc::ByteBuffer& bytes, const pb::Message& request) {
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  if (!reader.status().ok()) return 0;
  pb::io::CodedInputStream in(&reader);
  const pb::Message& prototype =
      *pb::MessageFactory::generated_factory()->GetPrototype(request.GetDescriptor());
  return DecodedBytes(in, prototype, kMaxDepth);
}

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
