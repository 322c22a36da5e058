// What the client makes of the bytes of a response, however they are cut or broken.

#include "client/cpp/src/run_decoder.h"

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "client/cpp/src/run_assembler.h"
#include "tests/e2e/support/events.h"
#include "tests/e2e/support/matchers.h"

namespace hookwire::e2e {
namespace {

using ::testing::ElementsAre;

// Feeds `bytes` to the decoder in blocks of `block` bytes.
absl::Status Decode(const std::string& bytes, int block, client::RunAssembler& assembler) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()),
                                                block);
  return client::DecodeRunResponse(stream, assembler);
}

TEST(RunDecoder, ReadsMessagesHoweverTheyAreCut) {
  v1::RunResponse both = Chunk(0, 0, kFirst);
  *both.mutable_tensors()->add_chunks() = Chunk(1, 0, kSecond).tensors().chunks(0);
  for (int block = 1; block < 40; ++block) {
    std::vector<double> values;
    const client::TensorCallback keep = [&](const client::Tensor& tensor) {
      for (const double value : tensor.ToDoubles()) values.push_back(value);
      return absl::OkStatus();
    };
    const client::RunOptions options;
    client::RunAssembler assembler(keep, options);
    ASSERT_THAT(StatusOf(Decode(Accepted().SerializeAsString(), block, assembler)), IsOk());
    ASSERT_THAT(StatusOf(Decode(both.SerializeAsString(), block, assembler)), IsOk());
    ASSERT_THAT(StatusOf(Decode(Receipt().SerializeAsString(), block, assembler)), IsOk());
    EXPECT_THAT(StatusOf(std::move(assembler).Result()), IsOk());
    EXPECT_THAT(values, ElementsAre(1, 2, 3, 4, 5));
  }
}

TEST(RunDecoder, SaysDataLossWhereAMessageIsCutShort) {
  const client::TensorCallback ignore = [](const client::Tensor&) { return absl::OkStatus(); };
  const client::RunOptions options;
  const std::string whole = Chunk(1, 0, kSecond).SerializeAsString();
  for (size_t length = 1; length < whole.size(); ++length) {
    client::RunAssembler assembler(ignore, options);
    ASSERT_THAT(StatusOf(Decode(Accepted().SerializeAsString(), -1, assembler)), IsOk());
    EXPECT_THAT(StatusOf(Decode(whole.substr(0, length), -1, assembler)),
                HasCode(absl::StatusCode::kDataLoss))
        << length;
  }
}

client::Tensor MakeTensor(v1::Dtype dtype, const std::string& bytes) {
  auto plan = std::make_shared<v1::Plan>();
  plan->add_groups()->set_dtype(dtype);
  plan->mutable_groups(0)->add_tensors();
  auto data = std::make_unique<std::byte[]>(bytes.size());
  std::memcpy(data.get(), bytes.data(), bytes.size());
  return {plan, 0, 0, 0, std::move(data), bytes.size()};
}

TEST(Tensor, WidensEveryDtype) {
  const double inf = std::numeric_limits<double>::infinity();
  // 1, -2.5, the smallest subnormal, +inf
  EXPECT_THAT(MakeTensor(v1::DTYPE_FLOAT16, {"\x00\x3c\x00\xc1\x01\x00\x00\x7c", 8}).ToDoubles(),
              ElementsAre(1, -2.5, 0x1p-24, inf));
  EXPECT_THAT(MakeTensor(v1::DTYPE_BFLOAT16, {"\x80\x3f\x20\xc0\x01\x00\x80\xff", 8}).ToDoubles(),
              ElementsAre(1, -2.5, 0x1p-133, -inf));
  EXPECT_THAT(MakeTensor(v1::DTYPE_FLOAT64, {"\x00\x00\x00\x00\x00\x00\xf0\x3f", 8}).ToDoubles(),
              ElementsAre(1));
  EXPECT_THAT(MakeTensor(v1::DTYPE_INT64, {"\xfe\xff\xff\xff\xff\xff\xff\xff", 8}).ToDoubles(),
              ElementsAre(-2));
}

}  // namespace
}  // namespace hookwire::e2e
