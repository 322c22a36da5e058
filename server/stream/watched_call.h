// A call that its client may keep waiting: by not reading its result, or by not sending the rest of
// its request.
#ifndef HOOKWIRE_SERVER_STREAM_WATCHED_CALL_H_
#define HOOKWIRE_SERVER_STREAM_WATCHED_CALL_H_

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hookwire::server {

// The methods come from any thread.
class WatchedCall {
 public:
  virtual ~WatchedCall() = default;

  // Since when the client has kept the call waiting; InfiniteFuture while it does not.
  virtual absl::Time waiting_since() const = 0;
  // What the call ends with where that has lasted for `timeout`.
  virtual absl::Status StallError(absl::Duration timeout) const = 0;
  // Ends the call as soon as it can.
  virtual void Abandon(const absl::Status& status) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_WATCHED_CALL_H_
