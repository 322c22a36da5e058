// The streams that are open: it ends those whose reader stands still, and all of them at shutdown.
#ifndef HOOKWIRE_SERVER_STREAM_STREAM_REGISTRY_H_
#define HOOKWIRE_SERVER_STREAM_STREAM_REGISTRY_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/observe/clock.h"
#include "server/stream/result_stream.h"

namespace hookwire::server {

// Thread-safe. Has one thread, which sleeps until the next reader could have stood still for too
// long.
class StreamRegistry {
 public:
  // A reader that takes no message for `stall_timeout` is given up: its call ends with
  // DEADLINE_EXCEEDED.
  StreamRegistry(absl::Duration stall_timeout, const Clock& clock);
  // REQUIRES: no stream is left.
  ~StreamRegistry();

  void Add(ResultStream* stream);
  // After this the registry does not call the stream any more.
  void Remove(ResultStream* stream);

  // Ends all streams, and those that are added later.
  void AbandonAll(const absl::Status& status);

  // False where streams are left at `deadline`.
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
  absl::flat_hash_set<ResultStream*> streams_ ABSL_GUARDED_BY(mutex_);
  absl::Status abandoned_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_STREAM_REGISTRY_H_
