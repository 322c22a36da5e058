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

// Allocates little, however large the parameter: adjacent rows in the host's memory are sent as a
// slice of the weights themselves; scattered rows, and rows on another device, are copied, at most
// kCopiedBytes at a time. Thread-compatible.
class WeightReader {
 public:
  static constexpr uint64_t kCopiedBytes = 1u << 20;

  // `parameters` is null if the server does not serve its weights. PermissionDenied, NotFound,
  // OutOfRange or InvalidArgument, with the field to blame.
  static absl::StatusOr<WeightReader> Open(const model::Parameters* parameters,
                                           const v1::GetWeightRequest& request,
                                           std::string weights_digest);

  // The next message; nothing after the last one.
  absl::StatusOr<std::optional<grpc::ByteBuffer>> Next();

 private:
  WeightReader() = default;
  // Bytes [from, from + size) of the tensor, as a slice that keeps the tensor.
  grpc::Slice Over(uint64_t from, uint64_t size) const;
  // A copy of `size` bytes of the selection, from `sent_` on.
  absl::StatusOr<grpc::Slice> Copy(uint64_t size) const;
  // The byte of the tensor at which row number `i` of the selection begins.
  uint64_t RowBegin(uint64_t i) const;

  at::Tensor tensor_;
  AxisPick rows_;
  uint64_t row_bytes_ = 0;
  bool together_ = false;
  uint64_t max_message_bytes_ = 0;
  // For the first message; absent after it.
  std::optional<v1::WeightHeader> header_;
  uint64_t bytes_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_WEIGHT_READER_H_
