// One parameter, or some of its rows, as the messages of GetWeight.
#ifndef HOOKWIRE_SERVER_RPC_WEIGHT_READER_H_
#define HOOKWIRE_SERVER_RPC_WEIGHT_READER_H_

#include <ATen/core/Tensor.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "hookwire/v1/service.pb.h"
#include "model/text/parameters.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// Thread-compatible. What it gives is bounded whatever the reader does: rows that lie together in
// the host's memory leave as a slice over the weights themselves; scattered rows, and those of
// another device, are copied, at most kCopiedBytes at a time.
class WeightReader {
 public:
  static constexpr uint64_t kCopiedBytes = 1u << 20;

  // `parameters` is null where the server keeps its weights. PermissionDenied, NotFound,
  // OutOfRange or InvalidArgument, with the field to blame.
  static absl::StatusOr<WeightReader> Open(const model::Parameters* parameters,
                                           const v1::GetWeightRequest& request,
                                           std::string weights_digest);

  // The next message; nothing after the last one.
  absl::StatusOr<std::optional<grpc::ByteBuffer>> Next();

 private:
  WeightReader() = default;
  // Bytes [from, from + size) of the tensor, as a slice that holds it.
  grpc::Slice Over(uint64_t from, uint64_t size) const;
  // `size` bytes of the selection from `sent_` on.
  absl::StatusOr<grpc::Slice> Copy(uint64_t size) const;
  // Where the selection's row number `i` begins in the tensor, in bytes.
  uint64_t RowBegin(uint64_t i) const;

  at::Tensor tensor_;
  AxisPick rows_;
  uint64_t row_bytes_ = 0;
  bool together_ = false;
  uint64_t max_message_bytes_ = 0;
  // Of the first message.
  std::optional<v1::WeightHeader> header_;
  uint64_t bytes_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_WEIGHT_READER_H_
