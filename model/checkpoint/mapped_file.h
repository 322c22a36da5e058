// A memory-mapped file, and whether the file has changed since it was mapped.
//
// Mapped pages show what other processes write to the file, and pages after the end of a truncated
// file cannot be read (sigbus_guard.h). So call Change after computing with the pages, and discard
// the result if it returns a change.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_MAPPED_FILE_H_
#define HOOKWIRE_MODEL_CHECKPOINT_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/checkpoint/sigbus_guard.h"
#include "os/descriptor.h"
#include "os/system.h"

namespace hookwire::model {

// Identifies a file and its content: two stamps are equal if the file is the same and has not been
// written to.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  // mtime, the time of the last write, which a writer may reset; and ctime, the time of the last
  // change of any kind, a new name or mode included.
  absl::Time modified = absl::UnixEpoch();
  absl::Time changed = absl::UnixEpoch();

  // The stamp of an open file. The error does not name the file.
  static absl::StatusOr<FileStamp> Of(int fd, os::System& system = os::RealSystem());
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// A file that is mapped privately and read-only, and kept open, while this object exists.
// Thread-safe.
class MappedFile {
 public:
  // InvalidArgument, or the system's error (NotFound, PermissionDenied, ResourceExhausted, …), with
  // the path and the cause. `system` must outlive the file.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(
      const std::string& path, os::System& system = os::RealSystem());
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // For reading: the mapped file, even if its name has been removed or given to another file.
  int fd() const { return fd_.get(); }
  // The stamp that the file had when it was mapped.
  const FileStamp& stamp() const { return stamp_; }

  // How the file differs from what was mapped ("size 10 → 5 bytes"), judged by its size, its times
  // and whether its pages could be read; nothing if it does not. If another file takes its name, or
  // the name is removed, the mapped file has not changed.
  std::optional<std::string> Change() const;

 private:
  MappedFile(std::string path, os::Descriptor fd, const FileStamp& stamp, const std::byte* data,
             os::System& system);

  const std::string path_;
  os::System& system_;
  const os::Descriptor fd_;
  const FileStamp stamp_;
  const std::byte* const data_;
  const size_t size_;
  std::optional<SigbusGuard> guard_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_MAPPED_FILE_H_
