// Tensors as protobuf bytes, without copying them.
//
// A RunResponse with the `tensors` event is written by hand: its headers into a small buffer of
// their own, its bulk bytes as slices over the tensors' memory. The result is ordinary protobuf:
// any client parses it with the generated code.
#ifndef HOOKWIRE_SERVER_STREAM_ENCODING_H_
#define HOOKWIRE_SERVER_STREAM_ENCODING_H_

#include <ATen/core/Tensor.h>
#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/stream/byte_budget.h"

namespace hookwire::server {

// A tensor of the plan, or some of its rows, that waits for its reader, and the bytes of the budget
// that it holds. On the CPU, contiguous, never written again.
struct HeldTensor {
  // Before `tensor`, so that the bytes are given back after the memory.
  ByteBudget::Lease lease;
  at::Tensor tensor;
  // Where it begins in the tensor of the plan, in bytes.
  uint64_t offset = 0;
};

// Bytes [offset, offset + size) of tensor number `index` of the plan.
struct Piece {
  uint32_t index = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  // Null: the bytes lie in the memory that the client shares, from its byte `shared_offset` on, and
  // the message only says so.
  std::shared_ptr<const HeldTensor> held;
  uint64_t shared_offset = 0;
};

// Pieces up to this size are copied behind their header: cheaper than a slice of their own.
inline constexpr size_t kCopiedPieceBytes = 2048;

// Collects the pieces of one message and keeps it within a size. Thread-compatible.
class TensorMessage {
 public:
  // `max_bytes` is at least kMinMessageBytes.
  explicit TensorMessage(size_t max_bytes) : max_bytes_(max_bytes) {}

  static constexpr size_t kMinMessageBytes = 64;

  // How many of the piece's bytes fit beside what is there. `fits` is false where not even the
  // piece's header does (or, for a piece with bytes in the message, not one of them).
  struct Room {
    bool fits = false;
    uint64_t bytes = 0;
  };
  Room RoomFor(const Piece& piece) const;

  // REQUIRES: RoomFor says that the piece fits.
  void Add(Piece piece);

  bool empty() const { return pieces_.empty(); }
  // Bytes of the finished message.
  size_t size() const;

  // The message. Slices over tensors hold them until the transport destroys the slices; tensors
  // that were copied into the message are held until this object is destroyed.
  grpc::ByteBuffer Encode() const;

 private:
  size_t max_bytes_;
  size_t body_bytes_ = 0;  // of all TensorChunks.chunks, with their tags and lengths
  std::vector<Piece> pieces_;
};

// Any message, by the generated code.
grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_ENCODING_H_
