#include "model/checkpoint/unread_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "model/checkpoint/directory.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/weight_file_names.h"

namespace hookwire::model {

absl::StatusOr<std::vector<UnreadFile>> FindUnreadFiles(const Checkpoint& checkpoint,
                                                        os::System& system) {
  const auto names = ListDirectory(checkpoint.directory(), system);
  if (!names.ok()) return names.status();
  const auto read = checkpoint.weight_files();
  const auto is_read = [&read](const struct stat& info) {
    return std::any_of(read.begin(), read.end(), [&info](const auto& file) {
      return file->stamp().device == info.st_dev && file->stamp().inode == info.st_ino;
    });
  };
  std::vector<UnreadFile> unread;
  for (const std::string& name : *names) {
    const bool is_safetensors = IsSafetensorsName(name);
    if (!is_safetensors && !IsOtherWeightName(name)) continue;
    const std::string path = (std::filesystem::path(checkpoint.directory()) / name).string();
    UnreadFile file{.name = name, .n_tensors = std::nullopt};
    struct stat info {};
    // A link that leads nowhere, for example, is named all the same.
    if (os::Uninterrupted([&] { return system.Stat(path.c_str(), &info); }) == 0) {
      if (!S_ISREG(info.st_mode) || is_read(info)) continue;
      if (is_safetensors) {
        const auto opened = SafetensorsFile::Open(path, system);
        if (opened.ok()) file.n_tensors = (*opened)->names().size();
      }
    }
    unread.push_back(std::move(file));
  }
  return unread;
}

}  // namespace hookwire::model
