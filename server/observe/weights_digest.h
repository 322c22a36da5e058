// The SHA-256 of a checkpoint's weight files, computed in the background.
#ifndef HOOKWIRE_SERVER_OBSERVE_WEIGHTS_DIGEST_H_
#define HOOKWIRE_SERVER_OBSERVE_WEIGHTS_DIGEST_H_

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/checkpoint/mapped_file.h"
#include "server/observe/digest_cache.h"

namespace hookwire::server {

// Thread-safe. Computes on a thread of its own, at a lower scheduling priority than passes.
class WeightsDigest {
 public:
  using Files = std::vector<std::shared_ptr<const model::MappedFile>>;

  struct Options {
    // For DigestCache; "" for none.
    std::string cache_directory;
    // Reads a file; for tests.
    std::function<ssize_t(int fd, void* to, size_t bytes, off_t from)> read = &pread;
  };

  // Takes the digest from the cache, or starts the thread, which reads the files in this order: the
  // mapped files themselves, also if their names have since been removed or replaced.
  WeightsDigest(Files files, Options options);
  // Ends the thread after at most one block more.
  ~WeightsDigest();

  // "sha256:" and 64 hex digits, or "pending" while it is being computed. Stays "pending" where a
  // file could not be read or has changed meanwhile.
  std::string value() const;

  // Waits until the digest is known (OK), or cannot be computed: then the error that says why.
  // DeadlineExceeded after `timeout`.
  absl::Status Wait(absl::Duration timeout) const;

 private:
  void Compute();
  // CANCELLED once `stop_` is true.
  absl::StatusOr<std::string> ReadAll() const;

  const Files files_;
  const Options options_;
  const DigestCache cache_;
  std::atomic<bool> stop_ = false;
  mutable absl::Mutex mutex_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusOr<std::string> digest_ ABSL_GUARDED_BY(mutex_) = std::string("pending");
  std::thread thread_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_WEIGHTS_DIGEST_H_
