#include "model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hookwire::model {
namespace {

FileStamp StampOf(const struct stat& info) {
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .size = static_cast<uint64_t>(info.st_size),
          .modified = absl::TimeFromTimespec(info.st_mtim),
          .changed = absl::TimeFromTimespec(info.st_ctim)};
}

}  // namespace

absl::StatusOr<FileStamp> FileStamp::Of(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, "cannot look at the file");
  return StampOf(info);
}

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  absl::Cleanup close_file = [fd] { close(fd); };
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  const FileStamp stamp = StampOf(info);
  if (stamp.size == 0) return absl::InvalidArgumentError(absl::StrCat(path, " is empty"));
  void* const data = mmap(nullptr, stamp.size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    return absl::InternalError(absl::StrCat("cannot map ", path, ": ", std::strerror(errno)));
  }
  std::move(close_file).Cancel();
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, fd, stamp, static_cast<const std::byte*>(data)));
}

MappedFile::MappedFile(std::string path, int fd, const FileStamp& stamp, const std::byte* data)
    : path_(std::move(path)),
      fd_(fd),
      stamp_(stamp),
      data_(data),
      size_(stamp.size),
      guard_(std::in_place, data, stamp.size) {}

MappedFile::~MappedFile() {
  // Before munmap, after which another mapping may get these addresses.
  guard_.reset();
  munmap(const_cast<std::byte*>(data_), size_);
  close(fd_);
}

std::optional<std::string> MappedFile::Change() const {
  const absl::StatusOr<FileStamp> now = FileStamp::Of(fd_);
  if (!now.ok()) return std::string(now.status().message());
  if (now->size != stamp_.size)
    return absl::StrCat("size ", stamp_.size, " → ", now->size, " bytes");
  if (now->modified != stamp_.modified) {
    return absl::StrCat("modified ", absl::FormatTime(stamp_.modified, absl::UTCTimeZone()), " → ",
                        absl::FormatTime(now->modified, absl::UTCTimeZone()));
  }
  if (guard_->lost()) return "some of it could not be read";
  return std::nullopt;
}

}  // namespace hookwire::model
