#include "server/rpc/weight_call.h"

#include <cstdint>

#include "hookwire/v1/service.pb.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"

namespace hookwire::server {

absl::Status WeightCall::Receive(const grpc::ByteBuffer& bytes) {
  // One step for each row that has to be sorted.
  const auto work = [](const v1::GetWeightRequest& request) {
    return static_cast<uint64_t>(request.rows().indices().values_size());
  };
  const auto open = [this](const v1::GetWeightRequest& request) -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, request.load_id()));
    HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(WeightReader::kCopiedBytes));
    HOOKWIRE_ASSIGN_OR_RETURN(
        reader_, WeightReader::Open(backend_.parameters, request, backend_.weights_digest()));
    return Sent();
  };
  return Parse<v1::GetWeightRequest>(bytes, work, open);
}

absl::Status WeightCall::Sent() {
  // Also after the last message: everything that was sent must come from the weights as loaded.
  HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.Check());
  HOOKWIRE_ASSIGN_OR_RETURN(const std::optional<grpc::ByteBuffer> message, reader_->Next());
  if (message.has_value()) {
    Send(*message);
  } else {
    EndWithOk();
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
