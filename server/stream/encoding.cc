#include "server/stream/encoding.h"

#include <google/protobuf/io/coded_stream.h>

#include <cstring>
#include <utility>

#include "hookwire/v1/service.pb.h"

namespace hookwire::server {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr uint8_t kVarint = 0;
constexpr uint8_t kBytes = 2;

constexpr uint8_t Tag(int field, uint8_t wire_type) {
  return static_cast<uint8_t>(field << 3 | wire_type);
}

constexpr uint8_t kTensorsTag = Tag(v1::RunResponse::kTensorsFieldNumber, kBytes);
constexpr uint8_t kChunksTag = Tag(v1::TensorChunks::kChunksFieldNumber, kBytes);
constexpr uint8_t kTensorTag = Tag(v1::TensorChunk::kTensorFieldNumber, kVarint);
constexpr uint8_t kOffsetTag = Tag(v1::TensorChunk::kOffsetFieldNumber, kVarint);
constexpr uint8_t kSharedBytesTag = Tag(v1::TensorChunk::kSharedBytesFieldNumber, kVarint);
constexpr uint8_t kSharedOffsetTag = Tag(v1::TensorChunk::kSharedOffsetFieldNumber, kVarint);
constexpr uint8_t kDataTag = Tag(v1::TensorChunk::kDataFieldNumber, kBytes);

size_t VarintSize(uint64_t value) { return CodedOutputStream::VarintSize64(value); }

// Fields with their default value are left out, as in the generated code.
size_t FieldSize(uint64_t value) { return value != 0 ? 1 + VarintSize(value) : 0; }

size_t HeadSize(const Piece& piece) { return FieldSize(piece.index) + FieldSize(piece.offset); }

size_t ChunkSize(const Piece& piece, uint64_t size) {
  if (piece.held == nullptr) {
    return HeadSize(piece) + FieldSize(size) + FieldSize(piece.shared_offset);
  }
  return HeadSize(piece) + FieldSize(size) + size;
}

size_t Framed(size_t size) { return 1 + VarintSize(size) + size; }

uint8_t* PutVarint(uint8_t tag, uint64_t value, uint8_t* out) {
  *out++ = tag;
  return CodedOutputStream::WriteVarint64ToArray(value, out);
}

uint8_t* PutField(uint8_t tag, uint64_t value, uint8_t* out) {
  return value != 0 ? PutVarint(tag, value, out) : out;
}

const uint8_t* BytesOf(const Piece& piece) {
  const HeldTensor& held = *piece.held;
  return static_cast<const uint8_t*>(held.tensor.const_data_ptr()) + (piece.offset - held.offset);
}

// The bytes of a piece that are in the message.
uint64_t Payload(const Piece& piece) { return piece.held == nullptr ? 0 : piece.size; }

bool IsCopied(const Piece& piece) { return Payload(piece) <= kCopiedPieceBytes; }

grpc::Slice SliceOver(const Piece& piece) {
  // gRPC calls this on any thread: it only drops a reference.
  const auto destroy = [](void* held) {
    delete static_cast<std::shared_ptr<const HeldTensor>*>(held);
  };
  auto* held = new std::shared_ptr<const HeldTensor>(piece.held);
  return grpc::Slice(const_cast<uint8_t*>(BytesOf(piece)), piece.size, destroy, held);
}

}  // namespace

TensorMessage::Room TensorMessage::RoomFor(const Piece& piece) const {
  const auto size_with = [&](uint64_t bytes) {
    return Framed(body_bytes_ + Framed(ChunkSize(piece, bytes)));
  };
  const size_t whole = size_with(piece.size);
  if (whole <= max_bytes_) return {true, piece.size};
  // With fewer data bytes, the lengths before them may take fewer bytes too: a few bytes of the
  // message may stay unused.
  const size_t around = whole - Payload(piece);
  if (around >= max_bytes_) return {};
  return {true, max_bytes_ - around};
}

void TensorMessage::Add(Piece piece) {
  body_bytes_ += Framed(ChunkSize(piece, piece.size));
  pieces_.push_back(std::move(piece));
}

size_t TensorMessage::size() const { return Framed(body_bytes_); }

grpc::ByteBuffer TensorMessage::Encode() const {
  size_t referenced = 0;
  for (const Piece& piece : pieces_) {
    if (!IsCopied(piece)) referenced += piece.size;
  }
  // All headers and copied pieces, one after another; slices of tensors come between its parts.
  grpc::Slice own(size() - referenced);
  uint8_t* const begin = const_cast<uint8_t*>(own.begin());
  uint8_t* out = PutVarint(kTensorsTag, body_bytes_, begin);

  struct Cut {
    size_t end;  // in `own`
    const Piece* piece;
  };
  std::vector<Cut> cuts;
  for (const Piece& piece : pieces_) {
    out = PutVarint(kChunksTag, ChunkSize(piece, piece.size), out);
    out = PutField(kTensorTag, piece.index, out);
    out = PutField(kOffsetTag, piece.offset, out);
    if (piece.held == nullptr) {
      out = PutField(kSharedBytesTag, piece.size, out);
      out = PutField(kSharedOffsetTag, piece.shared_offset, out);
      continue;
    }
    out = PutField(kDataTag, piece.size, out);
    if (piece.size == 0) continue;
    if (IsCopied(piece)) {
      std::memcpy(out, BytesOf(piece), piece.size);
      out += piece.size;
    } else {
      cuts.push_back({static_cast<size_t>(out - begin), &piece});
    }
  }

  std::vector<grpc::Slice> slices;
  slices.reserve(2 * cuts.size() + 1);
  size_t from = 0;
  for (const Cut& cut : cuts) {
    slices.push_back(own.sub(from, cut.end));
    slices.push_back(SliceOver(*cut.piece));
    from = cut.end;
  }
  if (from < own.size()) slices.push_back(own.sub(from, own.size()));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace hookwire::server
