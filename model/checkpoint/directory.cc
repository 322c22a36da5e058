#include "model/checkpoint/directory.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hookwire::model {

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path,
                                                       os::System& system) {
  const auto cannot_list = [&path] {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot list ", path));
  };
  DIR* const entries = system.Opendir(path.c_str());
  if (entries == nullptr) return cannot_list();
  const absl::Cleanup close = [&] { system.Closedir(entries); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* const entry = system.Readdir(entries);
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  if (errno != 0) return cannot_list();
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<mode_t> KindOf(const std::string& path, os::System& system) {
  struct stat info {};
  if (os::Uninterrupted([&] { return system.Stat(path.c_str(), &info); }) == 0) {
    return static_cast<mode_t>(info.st_mode & S_IFMT);
  }
  if (errno == ENOENT || errno == ENOTDIR) return mode_t{0};
  return absl::ErrnoToStatus(errno, path);
}

}  // namespace hookwire::model
