// Puts together values of interventions that are too large for the request, and come in messages of
// their own.
#ifndef HOOKWIRE_SERVER_RPC_UPLOADS_H_
#define HOOKWIRE_SERVER_RPC_UPLOADS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hookwire/v1/run.pb.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::server {

// Thread-compatible.
class Uploads {
 public:
  // No uploads.
  Uploads() = default;
  // The uploads that `spec` names; it must outlive this. Allocates nothing yet. InvalidArgument
  // (BAD_FIELD) if they are not numbered 0, 1, … or have no size, ResourceExhausted
  // (VALUE_TOO_LARGE) if they have more than `max_bytes` together.
  static absl::StatusOr<Uploads> Of(v1::RunSpec& spec, uint64_t max_bytes);

  // Of all uploads together.
  uint64_t bytes() const { return bytes_; }
  // Whether all have come. Each has then become an ordinary TensorValue of the spec.
  bool complete() const { return next_ == values_.size(); }

  // InvalidArgument (UNEXPECTED_MESSAGE) for pieces out of order.
  absl::Status Take(const v1::TensorChunks& pieces);

 private:
  struct Upload {
    v1::Value* value = nullptr;
    uint64_t bytes = 0;
  };
  uint64_t bytes_ = 0;
  // By number.
  std::vector<Upload> values_;
  // The upload that is being received, and its bytes so far.
  size_t next_ = 0;
  std::string data_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_UPLOADS_H_
