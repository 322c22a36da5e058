#include "model/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/adapter/nearest.h"
#include "model/checkpoint/directory.h"
#include "model/checkpoint/missing_file.h"
#include "model/checkpoint/text_file.h"
#include "model/checkpoint/weight_file_names.h"

namespace hookwire::model {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// model.safetensors, or else the files that the index names, sorted. Where both are there,
// Transformers reads model.safetensors too.
absl::StatusOr<std::vector<std::string>> FindWeightFiles(const fs::path& directory,
                                                         os::System& system) {
  const fs::path single = directory / kSingleFile;
  const fs::path index = directory / kIndexFile;
  const auto single_kind = KindOf(single, system);
  if (!single_kind.ok()) return single_kind.status();
  if (*single_kind != 0) return std::vector<std::string>{single.string()};
  const auto index_kind = KindOf(index, system);
  if (!index_kind.ok()) return index_kind.status();
  if (*index_kind == 0) return NoWeights(directory.string(), system);
  auto text = ReadText(index.string(), system);
  if (!text.ok()) return text.status();
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(index.string(), " is not valid JSON: it may be cut short"));
  }
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(index.string(), " has no weight_map"));
  }
  std::set<std::string> files;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string())
      return absl::InvalidArgumentError(absl::StrCat(index.string(), ": no file for ", tensor));
    const std::string name = file.get<std::string>();
    if (fs::path(name).filename() != name) {
      return absl::InvalidArgumentError(
          absl::StrCat(index.string(), " names a file outside the directory: ", name));
    }
    const std::string path = (directory / name).string();
    if (!files.insert(path).second) continue;
    const auto kind = KindOf(path, system);
    if (!kind.ok()) return kind.status();
    if (*kind == 0) return NoShard(directory.string(), name, system);
  }
  if (files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(index.string(), " names no file"));
  }
  return std::vector<std::string>(files.begin(), files.end());
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Checkpoint>> Checkpoint::Open(const std::string& directory,
                                                                   os::System& system) {
  const auto directory_kind = KindOf(directory, system);
  if (!directory_kind.ok()) return directory_kind.status();
  if (*directory_kind == 0) return NoDirectory(directory);
  if (*directory_kind != S_IFDIR) {
    return absl::NotFoundError(
        absl::StrCat(directory,
                     " is not a directory; a checkpoint is a directory with config.json "
                     "and the weight files"));
  }
  const fs::path config_path = fs::path(directory) / "config.json";
  const auto config_kind = KindOf(config_path, system);
  if (!config_kind.ok()) return config_kind.status();
  if (*config_kind == 0) return NoConfig(directory, system);
  auto text = ReadText(config_path.string(), system);
  if (!text.ok()) return text.status();
  auto config = ParseConfig(*text);
  if (!config.ok()) {
    return absl::Status(config.status().code(),
                        absl::StrCat(directory, ": ", config.status().message()));
  }
  auto paths = FindWeightFiles(directory, system);
  if (!paths.ok()) return paths.status();

  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint(system));
  checkpoint->directory_ = directory;
  checkpoint->config_text_ = *std::move(text);
  checkpoint->config_ = *std::move(config);
  for (const std::string& path : *paths) {
    auto file = SafetensorsFile::Open(path, system);
    if (!file.ok()) return file.status();
    for (std::string& name : (*file)->names()) {
      if (!checkpoint->tensors_.emplace(name, file->get()).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, " repeats the tensor ", name, " of another file"));
      }
    }
    checkpoint->watch_.Add((*file)->mapped()->fd());
    checkpoint->files_.push_back(*std::move(file));
  }
  return checkpoint;
}

std::string Checkpoint::name() const {
  fs::path path = fs::path(directory_).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return path.filename().string();
}

absl::StatusOr<at::Tensor> Checkpoint::Get(absl::string_view tensor) const {
  const auto it = tensors_.find(tensor);
  if (it == tensors_.end()) {
    const std::string nearest = NearestName(tensor, names());
    return absl::NotFoundError(
        absl::StrCat(directory_, " has no tensor ", tensor,
                     nearest.empty() ? "" : absl::StrCat("; the nearest is ", nearest)));
  }
  return it->second->Get(tensor);
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, file] : tensors_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::shared_ptr<const MappedFile>> Checkpoint::weight_files() const {
  std::vector<std::shared_ptr<const MappedFile>> files;
  for (const auto& file : files_) files.push_back(file->mapped());
  return files;
}

std::optional<FileChange> Checkpoint::Change() const {
  for (const auto& file : files_) {
    if (std::optional<std::string> what = file->mapped()->Change()) {
      return FileChange{file->path(), *std::move(what)};
    }
  }
  const absl::StatusOr<bool> written = watch_.written();
  if (!written.ok()) {
    return FileChange{files_.front()->path(), std::string(written.status().message())};
  }
  if (!*written) return std::nullopt;
  // It was written to, and its modification time was then reset.
  for (const auto& file : files_) {
    const absl::StatusOr<FileStamp> now = FileStamp::Of(file->mapped()->fd(), system_);
    if (!now.ok() || now->changed != file->mapped()->stamp().changed) {
      return FileChange{file->path(), "it was written to"};
    }
  }
  return FileChange{files_.front()->path(), "it was written to"};
}

}  // namespace hookwire::model
