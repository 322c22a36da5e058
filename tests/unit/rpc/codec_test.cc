#include "server/rpc/codec.h"

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hookwire/v1/service.pb.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

grpc::ByteBuffer Buffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

TEST(DecodeRequest, ParsesAMessage) {
  v1::RunRequest sent;
  sent.mutable_spec()->add_sequences()->add_token_ids(7);
  // In several pieces, as a large one arrives.
  const std::string bytes = sent.SerializeAsString();
  const grpc::Slice slices[] = {grpc::Slice(bytes.substr(0, 2)), grpc::Slice(bytes.substr(2))};
  v1::RunRequest got;
  ASSERT_TRUE(DecodeRequest(grpc::ByteBuffer(slices, 2), got).ok());
  EXPECT_EQ(got.spec().sequences(0).token_ids(0), 7u);
}

TEST(DecodeRequest, NoBytesAreAnEmptyMessage) {
  v1::GetModelRequest got;
  EXPECT_TRUE(DecodeRequest(Buffer(""), got).ok());
}

TEST(DecodeRequest, RefusesGarbage) {
  for (const std::string& bytes : {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                                   std::string("\x0a\x7f"), std::string("garbage")}) {
    v1::RunRequest got;
    const absl::Status status = DecodeRequest(Buffer(bytes), got);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_MALFORMED_REQUEST) << status;
  }
}

TEST(DecodeRequest, RefusesTextThatIsNoUtf8) {
  v1::ListHooksRequest got;
  const absl::Status status = DecodeRequest(Buffer("\x0a\x01\xff"), got);
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_MALFORMED_REQUEST) << status;
}

TEST(DecodeRequest, RefusesUnknownFieldsInEveryMessage) {
  v1::GetModelRequest got;
  // Field 9, a varint.
  const absl::Status status = DecodeRequest(Buffer("\x48\x01"), got);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_UNKNOWN_FIELD);
}

// Requests of which a byte on the wire becomes much or little.
std::vector<v1::RunRequest> Requests() {
  std::vector<v1::RunRequest> requests(6);
  for (int i = 0; i < 10000; ++i) {
    requests[1].mutable_spec()->add_captures();
    requests[2].mutable_spec()->add_captures()->set_hook("blocks.3.attn.hook_pattern, a long name");
    v1::Capture& capture = *requests[3].mutable_spec()->add_captures();
    capture.mutable_positions()->mutable_indices()->add_values(i);
    requests[4].mutable_spec()->add_sequences()->add_token_ids(static_cast<uint32_t>(i) % 100);
    if (i == 0) requests[5].mutable_spec()->add_sequences();
    requests[5].mutable_spec()->mutable_sequences(0)->add_token_ids(static_cast<uint32_t>(i));
  }
  v1::Intervention& intervention = *requests[5].mutable_spec()->add_interventions();
  intervention.mutable_set()->mutable_value()->mutable_tensor()->set_data(
      std::string(1 << 20, 'x'));
  return requests;
}

TEST(DecodedBytes, IsAboutWhatTheParsedMessageTakes) {
  for (const v1::RunRequest& request : Requests()) {
    const grpc::ByteBuffer bytes = Buffer(request.SerializeAsString());
    v1::RunRequest got;
    ASSERT_TRUE(DecodeRequest(bytes, got).ok());
    const uint64_t taken = got.SpaceUsedLong();
    EXPECT_GE(DecodedBytes(bytes, got), taken) << request.ShortDebugString().substr(0, 80);
    EXPECT_LE(DecodedBytes(bytes, got), 4 * taken) << request.ShortDebugString().substr(0, 80);
  }
}

TEST(DecodedBytes, CountsFieldsThatAreNotKnown) {
  std::string bytes;
  // Field 9, a varint.
  for (int i = 0; i < 1000; ++i) bytes += "\x48\x01";
  v1::GetModelRequest got;
  ASSERT_TRUE(got.ParseFromString(bytes));
  EXPECT_GE(DecodedBytes(Buffer(bytes), v1::GetModelRequest()), got.SpaceUsedLong());
}

TEST(DecodedBytes, CountsWhatIsInGroups) {
  // Field 1000 as a group, and in it texts in field 1, groups in field 2 and numbers in field 3.
  const std::string start = "\xc3\x3e";
  const std::string end = "\xc4\x3e";
  for (const std::string& part :
       {std::string("\x0a\x00", 2), std::string("\x13\x14"), std::string("\x18\x01")}) {
    std::string bytes = start;
    for (int i = 0; i < 10'000; ++i) bytes += part;
    bytes += end;
    v1::ListHooksRequest got;
    ASSERT_TRUE(got.ParseFromString(bytes));
    EXPECT_GE(DecodedBytes(Buffer(bytes), v1::ListHooksRequest()), got.SpaceUsedLong());
  }
}

TEST(DecodedBytes, OfGarbageEndsAtTheFault) {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep = "\x0a\x7f" + deep;
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), std::string("\x0a\x7f"),
        std::string("\x0a\xff\xff\xff\xff\x0f"), std::string("garbage"), deep}) {
    EXPECT_LE(DecodedBytes(Buffer(bytes), v1::RunRequest()), uint64_t{1} << 20);
  }
}

}  // namespace
}  // namespace hookwire::server
