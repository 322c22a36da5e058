// Whether the weights are still those that the server has loaded. Where they are not, nothing that
// it computes can be trusted, for good: only a new start helps.
#ifndef HOOKWIRE_SERVER_OBSERVE_WEIGHTS_GUARD_H_
#define HOOKWIRE_SERVER_OBSERVE_WEIGHTS_GUARD_H_

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/checkpoint/checkpoint.h"

namespace hookwire::server {

// Thread-safe.
class WeightsGuard {
 public:
  // Looks at the files: model::Checkpoint::Change in the daemon.
  using Look = std::function<std::optional<model::FileChange>()>;

  explicit WeightsGuard(Look look);

  // Looks, and says what it or an earlier look has found: FAILED_PRECONDITION/WEIGHTS_CHANGED, with
  // the file's name and what has changed. What was computed before an OK comes of the weights that
  // the server has loaded.
  absl::Status Check();

  // What the last Check found. Costs next to nothing.
  absl::Status status() const;

  // What has changed, once a Check has found it.
  std::optional<model::FileChange> change() const;

 private:
  const Look look_;
  // Set with change_.
  std::atomic<bool> changed_ = false;
  mutable absl::Mutex mutex_;
  std::optional<model::FileChange> change_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Checks again and again, on a thread of its own, until there is a change.
class WeightsWatch {
 public:
  // Calls `on_change` at most once, from its thread. `guard` must outlive it.
  WeightsWatch(WeightsGuard& guard, absl::Duration interval,
               std::function<void(const model::FileChange&)> on_change);
  // After this `on_change` is not called.
  ~WeightsWatch();

 private:
  void Watch();

  WeightsGuard& guard_;
  const absl::Duration interval_;
  const std::function<void(const model::FileChange&)> on_change_;
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_WEIGHTS_GUARD_H_
