#include "server/rpc/codec.h"

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <string>

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

}  // namespace
}  // namespace hookwire::server
