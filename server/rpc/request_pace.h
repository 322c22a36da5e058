// Whether a client sends its request fast enough.
#ifndef HOOKWIRE_SERVER_RPC_REQUEST_PACE_H_
#define HOOKWIRE_SERVER_RPC_REQUEST_PACE_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace hookwire::server {

// Not thread-safe.
class RequestPace {
 public:
  // A request has to arrive at this rate, so that a client cannot keep a call open by sending one
  // byte now and then.
  static constexpr uint64_t kLeastBytesPerSecond = 64u << 10;

  explicit RequestPace(absl::Time start) : start_(start), last_(start) {}

  void Received(absl::Time now, uint64_t bytes) {
    last_ = now;
    bytes_ += bytes;
  }

  // Since when the client is late: since the last bytes came, or since the time at which the bytes
  // so far were due at that rate, whichever is earlier.
  absl::Time waiting_since() const {
    const double seconds = static_cast<double>(bytes_) / kLeastBytesPerSecond;
    return std::min(last_, start_ + absl::Seconds(seconds));
  }

 private:
  const absl::Time start_;
  absl::Time last_;
  uint64_t bytes_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_REQUEST_PACE_H_
