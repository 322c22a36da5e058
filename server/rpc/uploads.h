// Values of interventions that come in messages of their own: large ones, which do not fit into a
// request.
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
  // None.
  Uploads() = default;
  // Those that `spec` names, which must outlive this. Nothing is allocated yet. InvalidArgument
  // (BAD_FIELD) where they are not numbered 0, 1, … or have no size, ResourceExhausted
  // (VALUE_TOO_LARGE) where they are more than `max_bytes` together.
  static absl::StatusOr<Uploads> Of(v1::RunSpec& spec, uint64_t max_bytes);

  // Of all of them together.
  uint64_t bytes() const { return bytes_; }
  // Whether all have come. Then each has become an ordinary TensorValue of the spec.
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
  // The one that comes now, and what has come of it.
  size_t next_ = 0;
  std::string data_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_UPLOADS_H_
