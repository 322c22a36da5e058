#include "model/checkpoint/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/misplaced_file.h"
#include "os/descriptor.h"

namespace hookwire::model {
namespace {

// The largest config.json or shard index that is read: real ones are far smaller.
constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr size_t kBlockBytes = size_t{64} << 10;

}  // namespace

absl::StatusOr<std::string> ReadText(const std::string& path, os::System& system) {
  // O_NONBLOCK: opening a pipe would otherwise wait for a writer.
  const os::Descriptor file(os::Uninterrupted([&] {
                              return system.Open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
                            }),
                            system);
  if (!file.valid()) return absl::ErrnoToStatus(errno, path);
  const auto cannot_read = [&path] {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  };
  struct stat info {};
  if (system.Fstat(file.get(), &info) != 0) return cannot_read();
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  std::string text;
  std::array<char, kBlockBytes> block;
  while (true) {
    const ssize_t bytes =
        os::Uninterrupted([&] { return system.Read(file.get(), block.data(), block.size()); });
    if (bytes < 0) return cannot_read();
    if (bytes == 0) break;
    text.append(block.data(), static_cast<size_t>(bytes));
    if (text.size() > kMaxBytes) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is too large"));
    }
  }
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is empty: download it again"));
  }
  if (const std::string what = MisplacedFile(text); !what.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is ", what));
  }
  return text;
}

}  // namespace hookwire::model
