// The SHA-256 of a checkpoint's weight files, computed in the background.
#ifndef HOOKWIRE_SERVER_OBSERVE_WEIGHTS_DIGEST_H_
#define HOOKWIRE_SERVER_OBSERVE_WEIGHTS_DIGEST_H_

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace hookwire::server {

// Thread-safe. Its thread takes only processor time that nobody else wants.
class WeightsDigest {
 public:
  // Starts to read `files`, one after another in this order.
  explicit WeightsDigest(std::vector<std::string> files);
  // Stops at once, done or not.
  ~WeightsDigest();

  // "sha256:" and 64 hex digits, or "pending" while it is being computed (for ever, where a file
  // cannot be read).
  std::string value() const;

  // Waits until the digest is there or cannot be: why it cannot.
  absl::Status Wait(absl::Duration timeout) const;

 private:
  void Compute(const std::vector<std::string>& files);

  std::atomic<bool> stop_ = false;
  mutable absl::Mutex mutex_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusOr<std::string> digest_ ABSL_GUARDED_BY(mutex_) = std::string("pending");
  std::thread thread_;
};

// The digest over the files' bytes, one file after another. CANCELLED soon after `stop` becomes
// true.
absl::StatusOr<std::string> Sha256OfFiles(const std::vector<std::string>& files,
                                          const std::atomic<bool>& stop);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_WEIGHTS_DIGEST_H_
