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

// Thread-safe. Its thread takes only processor time that nobody else wants.
class WeightsDigest {
 public:
  using Files = std::vector<std::shared_ptr<const model::MappedFile>>;

  struct Options {
    // Of the DigestCache.
    std::string cache_directory;
    // How files are read.
    std::function<ssize_t(int fd, void* to, size_t bytes, off_t from)> read = &pread;
  };

  // The digest is there at once where the cache has it. Otherwise starts to read the files, one
  // after another in this order: those that are mapped, whatever has become of their names.
  WeightsDigest(Files files, Options options);
  // Stops at once, done or not.
  ~WeightsDigest();

  // "sha256:" and 64 hex digits, or "pending" while it is being computed (for ever, where a file
  // cannot be read or changes meanwhile).
  std::string value() const;

  // Waits until the digest is there or cannot be: why it cannot.
  absl::Status Wait(absl::Duration timeout) const;

 private:
  void Compute();
  // CANCELLED soon after `stop_` becomes true.
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
