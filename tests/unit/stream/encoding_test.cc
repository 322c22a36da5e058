#include "server/stream/encoding.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "hookwire/v1/service.pb.h"

namespace hookwire::server {
namespace {

// A tensor of `size` bytes, each with a value of its own.
std::shared_ptr<const HeldTensor> Held(ByteBudget::Account& account, int64_t size) {
  at::Tensor tensor = at::empty({size}, at::kByte);
  std::minstd_rand random(static_cast<unsigned>(size));
  for (int64_t i = 0; i < size; ++i) tensor.data_ptr<uint8_t>()[i] = static_cast<uint8_t>(random());
  auto lease = account.TryAcquire(static_cast<uint64_t>(size));
  return std::make_shared<const HeldTensor>(HeldTensor{*std::move(lease), tensor});
}

std::string Flatten(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string out;
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

// What the generated code makes of the same pieces.
std::string Reference(const std::vector<Piece>& pieces) {
  v1::RunResponse response;
  v1::TensorChunks* const chunks = response.mutable_tensors();
  for (const Piece& piece : pieces) {
    v1::TensorChunk* const chunk = chunks->add_chunks();
    chunk->set_tensor(piece.index);
    chunk->set_offset(piece.offset);
    if (piece.held == nullptr) {
      chunk->set_shared_bytes(piece.size);
      chunk->set_shared_offset(piece.shared_offset);
      continue;
    }
    const auto* bytes = static_cast<const char*>(piece.held->tensor.const_data_ptr());
    chunk->set_data(bytes + piece.offset, piece.size);
  }
  return response.SerializeAsString();
}

class EncodingTest : public testing::Test {
 protected:
  std::string Encode(const std::vector<Piece>& pieces) {
    TensorMessage message(1u << 30);
    for (const Piece& piece : pieces) message.Add(piece);
    const std::string bytes = Flatten(message.Encode());
    EXPECT_EQ(bytes.size(), message.size());
    return bytes;
  }

  const std::shared_ptr<ByteBudget> budget_ = ByteBudget::Create(1u << 30);
  const std::shared_ptr<ByteBudget::Account> account_ = budget_->Open(0);
};

TEST_F(EncodingTest, OnePieceIsTheSameBytesAsTheGeneratedCodes) {
  // Around every size at which a length takes another byte, and where copying ends.
  for (const int64_t size : {0, 1, 10, 100, 120, 127, 128, 129, 2047, 2048, 2049, 16376, 16384,
                             16500, 2097140, 2097152, 2097160}) {
    for (const uint32_t index : {0u, 1u, 127u, 128u, 70'000u}) {
      const std::vector<Piece> pieces = {
          {index, 0, static_cast<uint64_t>(size), Held(*account_, size)}};
      ASSERT_EQ(Encode(pieces), Reference(pieces)) << size << " bytes, tensor " << index;
    }
  }
}

TEST_F(EncodingTest, PiecesOfOneTensorCarryTheirOffsets) {
  const auto held = Held(*account_, 100'000);
  const std::vector<Piece> pieces = {{3, 0, 1, held},
                                     {3, 1, 99, held},
                                     {3, 100, 5000, held},
                                     {3, 5100, 1, held},
                                     {3, 70'000, 30'000, held}};
  EXPECT_EQ(Encode(pieces), Reference(pieces));
}

TEST_F(EncodingTest, CopiedAndReferencedPiecesMix) {
  std::minstd_rand random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<Piece> pieces;
    for (uint32_t i = 0; i < 1 + random() % 20; ++i) {
      const auto size = static_cast<int64_t>(random() % 5000);
      pieces.push_back({i, 0, static_cast<uint64_t>(size), Held(*account_, size)});
    }
    ASSERT_EQ(Encode(pieces), Reference(pieces));
  }
}

TEST_F(EncodingTest, LargePiecesAreNotCopied) {
  const auto held = Held(*account_, 1 << 20);
  TensorMessage message(2u << 20);
  message.Add({0, 0, 1 << 20, held});
  const grpc::ByteBuffer buffer = message.Encode();
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(buffer.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[1].begin(), static_cast<const uint8_t*>(held->tensor.const_data_ptr()));
}

TEST_F(EncodingTest, MemoryIsHeldUntilTheLastSliceIsDestroyed) {
  grpc::ByteBuffer buffer;
  {
    TensorMessage message(2u << 20);
    message.Add({0, 0, 1 << 20, Held(*account_, 1 << 20)});
    buffer = message.Encode();
  }
  EXPECT_EQ(budget_->held(), 1u << 20);
  grpc::ByteBuffer in_transport = buffer;
  buffer.Clear();
  EXPECT_EQ(budget_->held(), 1u << 20);
  in_transport.Clear();
  EXPECT_EQ(budget_->held(), 0u);
}

TEST_F(EncodingTest, RoomForKeepsTheMessageWithinItsSize) {
  for (const size_t limit : {64u, 100u, 200u, 16'500u, 65'536u}) {
    const auto held = Held(*account_, 300'000);
    TensorMessage message(limit);
    const TensorMessage::Room room = message.RoomFor({70'000, 200'000, 100'000, held});
    ASSERT_TRUE(room.fits);
    ASSERT_GT(room.bytes, 0u);
    message.Add({70'000, 200'000, room.bytes, held});
    EXPECT_LE(message.size(), limit);
    // Lengths are estimated, but not so that space is wasted.
    EXPECT_GE(message.size() + 8, std::min<size_t>(limit, 100'000));
  }
}

TEST_F(EncodingTest, RoomForRefusesWhatFitsNowhere) {
  const auto held = Held(*account_, 1000);
  TensorMessage message(64);
  message.Add({0, 0, 55, held});
  EXPECT_FALSE(message.RoomFor({1, 0, 100, held}).fits);
}

TEST_F(EncodingTest, RoomForGivesAllWhereAllFits) {
  TensorMessage message(64);
  const TensorMessage::Room room = message.RoomFor({0, 0, 56, Held(*account_, 56)});
  EXPECT_TRUE(room.fits);
  EXPECT_EQ(room.bytes, 56u);
}

TEST_F(EncodingTest, PiecesInSharedMemorySayWhereTheyLie) {
  const auto held = Held(*account_, 5000);
  std::vector<Piece> pieces = {{0, 0, 5000, held}};
  for (const uint64_t value :
       {uint64_t{0}, uint64_t{1}, uint64_t{127}, uint64_t{128}, uint64_t{1} << 35, ~uint64_t{0}}) {
    pieces.push_back({3, value, value, nullptr, value});
  }
  pieces.push_back({4, 0, 100, held});
  EXPECT_EQ(Encode(pieces), Reference(pieces));
}

TEST_F(EncodingTest, APieceInSharedMemoryTakesTheRoomOfItsHeader) {
  TensorMessage message(TensorMessage::kMinMessageBytes);
  const Piece largest = {~uint32_t{0}, ~uint64_t{0} - 1, ~uint64_t{0}, nullptr, ~uint64_t{0}};
  const TensorMessage::Room room = message.RoomFor(largest);
  ASSERT_TRUE(room.fits);
  EXPECT_EQ(room.bytes, largest.size);
  message.Add(largest);
  EXPECT_LE(message.size(), TensorMessage::kMinMessageBytes);
  EXPECT_FALSE(message.RoomFor(largest).fits);
}

TEST(EncodeMessage, IsWhatTheGeneratedCodeParses) {
  for (const size_t size : {size_t{0}, size_t{3}, size_t{1000}}) {
    v1::RunResponse response;
    response.mutable_accepted()->set_run_id(std::string(size, 'x'));
    v1::RunResponse parsed;
    ASSERT_TRUE(parsed.ParseFromString(Flatten(EncodeMessage(response))));
    EXPECT_EQ(parsed.accepted().run_id().size(), size);
  }
}

}  // namespace
}  // namespace hookwire::server
