// A file's bytes in memory, and whether they are still what was mapped.
//
// Mapped pages are the file: what others write to it shows in them, and where it shrinks they are
// gone (sigbus_guard.h). So whoever computes with them asks for Change when he is done, and throws
// away what he has made where there is one.
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

namespace hookwire::model {

// What tells a file from others, and from itself when it held something else.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  // Times of the last write, which a writer may put back, and of the last change of any kind, which
  // also comes with a new name or mode.
  absl::Time modified = absl::UnixEpoch();
  absl::Time changed = absl::UnixEpoch();

  // Of an open file. The error does not name it.
  static absl::StatusOr<FileStamp> Of(int fd);
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// Mapped privately and read-only, and kept open, for as long as somebody holds it. Thread-safe.
class MappedFile {
 public:
  // NotFound or InvalidArgument with the path and the cause.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // For reading. It is the mapped file, whatever has become of its name.
  int fd() const { return fd_; }
  // As it was when it was mapped.
  const FileStamp& stamp() const { return stamp_; }

  // How the file differs from what was mapped ("size 10 → 5 bytes"), as far as its size and its
  // times tell and its pages could be read; nothing where it does not. A file that another has
  // replaced by renaming, or that has no name any more, is the same as ever.
  std::optional<std::string> Change() const;

 private:
  MappedFile(std::string path, int fd, const FileStamp& stamp, const std::byte* data);

  const std::string path_;
  const int fd_;
  const FileStamp stamp_;
  const std::byte* const data_;
  const size_t size_;
  std::optional<SigbusGuard> guard_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_MAPPED_FILE_H_
