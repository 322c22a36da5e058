#include "model/checkpoint/missing_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/directory.h"
#include "model/checkpoint/weight_file_names.h"

namespace hookwire::model {
namespace {

constexpr char kConfig[] = "config.json";
constexpr char kAdapterConfig[] = "adapter_config.json";
constexpr char kAdapterWeights[] = "adapter_model.safetensors";
// Ends of the names that programs give to files that they have not downloaded whole.
constexpr absl::string_view kUnfinished[] = {".incomplete", ".part", ".crdownload", ".aria2"};

std::string Join(const std::string& directory, absl::string_view name) {
  return (std::filesystem::path(directory) / std::string(name)).string();
}

// Names in the directory; none if it cannot be listed.
std::vector<std::string> NamesIn(const std::string& directory, os::System& system) {
  auto names = ListDirectory(directory, system);
  return names.ok() ? *std::move(names) : std::vector<std::string>();
}

bool IsFile(const std::string& path, os::System& system) {
  const auto kind = KindOf(path, system);
  return kind.ok() && *kind == S_IFREG;
}

// If `path`, where no file is found, is a symbolic link: the error. The caches of Hugging Face
// consist of such links, and a download that was not finished leaves some that lead nowhere.
absl::Status CheckNoLink(const std::string& path, os::System& system) {
  struct stat info {};
  if (os::Uninterrupted([&] { return system.Lstat(path.c_str(), &info); }) != 0 ||
      !S_ISLNK(info.st_mode)) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(
      absl::StrCat(path, " is a link to a file that does not exist: download it again"));
}

std::string MergeAdapter(const std::string& directory) {
  return absl::StrCat(directory,
                      " has an adapter's files only: merge the adapter into its base model "
                      "(PEFT's merge_and_unload), and serve the merged model");
}

// Whether it is the name of a model on the Hugging Face Hub: "google/gemma-4-E2B-it".
bool IsHubName(absl::string_view path) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  return parts.size() == 2 && !parts[0].empty() && !parts[1].empty() && parts[0][0] != '.' &&
         parts[0][0] != '~';
}

// The first subdirectory of `directory` that has a config.json, or of its snapshots/, as in the
// cache of Hugging Face. Empty if there is none.
std::string CheckpointWithin(const std::string& directory, os::System& system) {
  for (const std::string& parent : {directory, Join(directory, "snapshots")}) {
    for (const std::string& name : NamesIn(parent, system)) {
      std::string path = Join(parent, name);
      if (IsFile(Join(path, kConfig), system)) return path;
    }
  }
  return "";
}

// "model-00001-of-00002.safetensors".
bool IsShard(absl::string_view name) {
  return IsSafetensorsName(name) && absl::StrContains(name, "-of-");
}

bool IsUnfinished(absl::string_view name) {
  return std::any_of(std::begin(kUnfinished), std::end(kUnfinished),
                     [name](absl::string_view end) { return absl::EndsWith(name, end); });
}

}  // namespace

absl::Status NoDirectory(const std::string& path) {
  std::string advice;
  if (IsHubName(path)) {
    advice =
        absl::StrCat("; if it is a model of the Hugging Face Hub, download it first: hf download ",
                     path, " --local-dir DIR");
  }
  return absl::NotFoundError(absl::StrCat("there is no directory ", path, advice));
}

absl::Status NoConfig(const std::string& directory, os::System& system) {
  if (absl::Status link = CheckNoLink(Join(directory, kConfig), system); !link.ok()) return link;
  if (IsFile(Join(directory, kAdapterConfig), system)) {
    return absl::NotFoundError(MergeAdapter(directory));
  }
  const std::string within = CheckpointWithin(directory, system);
  return absl::NotFoundError(
      absl::StrCat(directory, " is no checkpoint: it has no config.json",
                   within.empty() ? "" : absl::StrCat("; ", within, " has one")));
}

absl::Status NoWeights(const std::string& directory, os::System& system) {
  for (const char* name : {kSingleFile, kIndexFile}) {
    if (absl::Status link = CheckNoLink(Join(directory, name), system); !link.ok()) return link;
  }
  const std::vector<std::string> names = NamesIn(directory, system);
  const auto first = [&names](const std::function<bool(absl::string_view)>& is) -> std::string {
    const auto it = std::find_if(names.begin(), names.end(), is);
    return it == names.end() ? "" : *it;
  };
  std::string advice;
  if (const std::string name = first(IsUnfinished); !name.empty()) {
    advice = absl::StrCat("; ", name, " is a download that was not finished");
  } else if (const std::string name = first(IsShard); !name.empty()) {
    advice = absl::StrCat("; shards such as ", name,
                          " are read only if the index names them: download the index too");
  } else if (const std::string name = first([](absl::string_view name) {
               return IsSafetensorsName(name) && name != kAdapterWeights;
             });
             !name.empty()) {
    advice = absl::StrCat("; if ", name, " is the whole model, rename it to ", kSingleFile);
  } else if (const std::string name = first(IsOtherWeightName); !name.empty()) {
    advice =
        absl::StrCat("; ", name, " is in a format that is not read: convert it to safetensors");
  } else if (IsFile(Join(directory, kAdapterWeights), system)) {
    return absl::NotFoundError(MergeAdapter(directory));
  }
  return absl::NotFoundError(
      absl::StrCat(directory, " has neither ", kSingleFile, " nor ", kIndexFile, advice));
}

absl::Status NoShard(const std::string& directory, const std::string& name, os::System& system) {
  if (absl::Status link = CheckNoLink(Join(directory, name), system); !link.ok()) return link;
  return absl::NotFoundError(absl::StrCat(Join(directory, kIndexFile), " names ", name,
                                          ", which is missing: download it again"));
}

}  // namespace hookwire::model
