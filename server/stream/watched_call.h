// A call whose client may stall: by not reading its result, or by not sending the rest of its
// request.
#ifndef HOOKWIRE_SERVER_STREAM_WATCHED_CALL_H_
#define HOOKWIRE_SERVER_STREAM_WATCHED_CALL_H_

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hookwire::server {

// Called on any thread.
class WatchedCall {
 public:
  virtual ~WatchedCall() = default;

  // Since when the call has waited for its client; InfiniteFuture while it does not.
  virtual absl::Time waiting_since() const = 0;
  // The error with which the call ends if it has waited for `timeout`.
  virtual absl::Status StallError(absl::Duration timeout) const = 0;
  // Ends the call as soon as it can.
  virtual void Abandon(const absl::Status& status) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_WATCHED_CALL_H_
