// Encodes tensors as protobuf without copying them.
//
// A RunResponse with the `tensors` event is encoded by hand: tags, lengths and numbers in a small
// buffer, the tensors' bytes as slices of their memory. The result is ordinary protobuf, which any
// client parses with the generated code.
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

// A tensor of the plan, or some of its rows, or several tensors, that wait for its reader, with the
// bytes of the budget that it holds. On the CPU, contiguous, not written to any more.
struct HeldTensor {
  // Declared before `tensor`, so that the bytes are released after the memory.
  ByteBudget::Lease lease;
  at::Tensor tensor;
  // The byte of the plan's tensor at which it begins.
  uint64_t offset = 0;
};

// Bytes [offset, offset + size) of tensor number `index` of the plan, or of the tensors from it on.
struct Piece {
  uint32_t index = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  // Null if the bytes are in the client's shared memory, from its byte `shared_offset` on: the
  // message then only says where.
  std::shared_ptr<const HeldTensor> held;
  uint64_t shared_offset = 0;
};

// Pieces up to this size are copied into the buffer after their header, which is cheaper than a
// slice.
inline constexpr size_t kCopiedPieceBytes = 2048;

// Collects the pieces of one message of limited size. Thread-compatible.
class TensorMessage {
 public:
  // `max_bytes` is at least kMinMessageBytes.
  explicit TensorMessage(size_t max_bytes) : max_bytes_(max_bytes) {}

  static constexpr size_t kMinMessageBytes = 64;

  // How many of the piece's bytes still fit into the message. `fits` is false if not even its
  // header does, or, for a piece whose bytes go into the message, not one of them.
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

// Encodes any message with the generated code.
grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_ENCODING_H_
