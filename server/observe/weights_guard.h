// Whether the weight files have changed since the server loaded them. Weights are mapped, so that a
// change of a file changes the model: after one, results are refused until the server is restarted.
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
  // Compares the files with what was loaded: model::Checkpoint::Change in the daemon.
  using Look = std::function<std::optional<model::FileChange>()>;

  explicit WeightsGuard(Look look);

  // Looks at the files. FAILED_PRECONDITION/WEIGHTS_CHANGED, with the file's name and what has
  // changed, where this or an earlier Check has found a change. OK means that whatever was computed
  // before was computed from the weights that the server has loaded.
  absl::Status Check();

  // The result of the last Check, without looking at the files.
  absl::Status status() const;

  // The change that a Check has found.
  std::optional<model::FileChange> change() const;

 private:
  const Look look_;
  // Set with change_.
  std::atomic<bool> changed_ = false;
  mutable absl::Mutex mutex_;
  std::optional<model::FileChange> change_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Checks at an interval, on a thread of its own, until there is a change.
class WeightsWatch {
 public:
  // Calls `on_change` at the first change, once, on its thread. `guard` must outlive the watch.
  WeightsWatch(WeightsGuard& guard, absl::Duration interval,
               std::function<void(const model::FileChange&)> on_change);
  // Waits for a running `on_change`; it is not called after this.
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
