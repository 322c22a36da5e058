// Whether any of some files has been written to. Their times do not tell: a writer may reset the
// modification time, and the change time also changes when a file is renamed or its mode is
// changed.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_WRITE_WATCH_H_
#define HOOKWIRE_MODEL_CHECKPOINT_WRITE_WATCH_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "os/descriptor.h"
#include "os/system.h"

namespace hookwire::model {

// Thread-safe after the last Add. Uses one inotify instance, of which a user has few (128 by
// default); if there is none left, it sees no writes, and status() says so. It never sees writes
// through a shared mapping, or those of another machine on a network file system; these change the
// file's times.
class WriteWatch {
 public:
  explicit WriteWatch(os::System& system);
  WriteWatch(const WriteWatch&) = delete;
  WriteWatch& operator=(const WriteWatch&) = delete;

  // Watches the open file itself, even if it is renamed.
  void Add(int fd);

  // Why it does not watch all files that were added; OK if it does.
  const absl::Status& status() const { return status_; }

  // Whether a file has been written to or truncated since it was added. The error is the
  // system's.
  absl::StatusOr<bool> written() const;

 private:
  os::System& system_;
  const os::Descriptor inotify_;
  absl::Status status_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_WRITE_WATCH_H_
