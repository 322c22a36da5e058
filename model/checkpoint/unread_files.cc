#include "model/checkpoint/unread_files.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/safetensors.h"

namespace hookwire::model {
namespace {

constexpr absl::string_view kSafetensors = ".safetensors";
constexpr absl::string_view kOtherFormats[] = {".bin",  ".gguf", ".pt",      ".pth",
                                               ".ckpt", ".h5",   ".msgpack", ".npz"};
// What Transformers' Trainer and Accelerate write beside the weights: optimizer.pt, scheduler.bin,
// rng_state_0.pth.
constexpr absl::string_view kTrainingState[] = {"optimizer", "scheduler", "scaler",
                                                "sampler",   "rng_state", "training_args"};

bool IsWeightFile(absl::string_view name) {
  if (absl::StartsWith(name, ".")) return false;
  if (absl::EndsWith(name, kSafetensors)) return true;
  return std::any_of(std::begin(kOtherFormats), std::end(kOtherFormats),
                     [name](absl::string_view end) { return absl::EndsWith(name, end); }) &&
         std::none_of(std::begin(kTrainingState), std::end(kTrainingState),
                      [name](absl::string_view start) { return absl::StartsWith(name, start); });
}

// Names of the weight files in the directory, sorted.
absl::StatusOr<std::vector<std::string>> ListWeightFiles(const std::string& directory,
                                                         os::System& system) {
  const auto cannot_list = [&directory] {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot list ", directory));
  };
  DIR* const entries = system.Opendir(directory.c_str());
  if (entries == nullptr) return cannot_list();
  const absl::Cleanup close = [&] { system.Closedir(entries); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* const entry = system.Readdir(entries);
    if (entry == nullptr) break;
    if (IsWeightFile(entry->d_name)) names.emplace_back(entry->d_name);
  }
  if (errno != 0) return cannot_list();
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

absl::StatusOr<std::vector<UnreadFile>> FindUnreadFiles(const Checkpoint& checkpoint,
                                                        os::System& system) {
  const absl::StatusOr<std::vector<std::string>> names =
      ListWeightFiles(checkpoint.directory(), system);
  if (!names.ok()) return names.status();
  const auto read = checkpoint.weight_files();
  const auto is_read = [&read](const struct stat& info) {
    return std::any_of(read.begin(), read.end(), [&info](const auto& file) {
      return file->stamp().device == info.st_dev && file->stamp().inode == info.st_ino;
    });
  };
  std::vector<UnreadFile> unread;
  for (const std::string& name : *names) {
    const std::string path = (std::filesystem::path(checkpoint.directory()) / name).string();
    UnreadFile file{.name = name, .n_tensors = std::nullopt};
    struct stat info {};
    // A link that leads nowhere, for example, is named all the same.
    if (os::Uninterrupted([&] { return system.Stat(path.c_str(), &info); }) == 0) {
      if (!S_ISREG(info.st_mode) || is_read(info)) continue;
      if (absl::EndsWith(name, kSafetensors)) {
        const auto opened = SafetensorsFile::Open(path, system);
        if (opened.ok()) file.n_tensors = (*opened)->names().size();
      }
    }
    unread.push_back(std::move(file));
  }
  return unread;
}

}  // namespace hookwire::model
