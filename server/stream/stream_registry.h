// Calls that are open now, so that those whose client stands still can be ended, and all of them at
// shutdown. One registry has the results that are being read, another one the runs that have not
// begun, and a third one the calls of all other methods.
#ifndef HOOKWIRE_SERVER_STREAM_STREAM_REGISTRY_H_
#define HOOKWIRE_SERVER_STREAM_STREAM_REGISTRY_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/observe/clock.h"
#include "server/stream/watched_call.h"

namespace hookwire::server {

// Thread-safe. Has one thread, which sleeps until the next reader could have stood still for too
// long.
class StreamRegistry {
 public:
  // A client that keeps its call waiting for `stall_timeout` is given up: the call ends with
  // WatchedCall::StallError.
  StreamRegistry(absl::Duration stall_timeout, const Clock& clock);
  // REQUIRES: no call is left.
  ~StreamRegistry();

  void Add(WatchedCall* call);
  // After this the registry does not call it any more.
  void Remove(WatchedCall* call);

  // Ends all calls, and those that are added later.
  void AbandonAll(const absl::Status& status);

  // False where calls are left at `deadline`.
  bool WaitUntilEmpty(absl::Time deadline) const;

  size_t size() const;

  // Ends the streams whose reader has stood still for too long at `now`; returns when to look
  // again. Called by the registry's thread.
  absl::Time EndStalled(absl::Time now);

 private:
  void Watch();

  const absl::Duration stall_timeout_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_set<WatchedCall*> calls_ ABSL_GUARDED_BY(mutex_);
  absl::Status abandoned_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_STREAM_REGISTRY_H_
