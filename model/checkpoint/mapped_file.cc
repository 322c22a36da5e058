#include "model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

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

absl::StatusOr<FileStamp> FileStamp::Of(int fd, os::System& system) {
  struct stat info {};
  if (system.Fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, "cannot look at the file");
  return StampOf(info);
}

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path,
                                                                   os::System& system) {
  // O_NONBLOCK: opening a pipe would otherwise wait for a writer.
  os::Descriptor fd(os::Uninterrupted([&] {
                      return system.Open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
                    }),
                    system);
  if (!fd.valid()) return absl::ErrnoToStatus(errno, path);
  struct stat info {};
  if (system.Fstat(fd.get(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", path));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  const FileStamp stamp = StampOf(info);
  if (stamp.size == 0)
    return absl::InvalidArgumentError(absl::StrCat(path, " is empty: download it again"));
  void* const data = system.Mmap(stamp.size, PROT_READ, MAP_PRIVATE, fd.get());
  if (data == MAP_FAILED) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot map ", path));
  }
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, std::move(fd), stamp, static_cast<const std::byte*>(data), system));
}

MappedFile::MappedFile(std::string path, os::Descriptor fd, const FileStamp& stamp,
                       const std::byte* data, os::System& system)
    : path_(std::move(path)),
      system_(system),
      fd_(std::move(fd)),
      stamp_(stamp),
      data_(data),
      size_(stamp.size),
      guard_(std::in_place, data, stamp.size) {}

MappedFile::~MappedFile() {
  // Before munmap, after which another mapping may get these addresses.
  guard_.reset();
  system_.Munmap(const_cast<std::byte*>(data_), size_);
}

std::optional<std::string> MappedFile::Change() const {
  const absl::StatusOr<FileStamp> now = FileStamp::Of(fd_.get(), system_);
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
