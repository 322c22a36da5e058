#include "server/rpc/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/checkpoint/misplaced_text.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

constexpr std::array<std::string_view, 8> kNames = {
    "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json",    "generation_config.json",  "tokenizer.model",
};

// Enough to see whether a file is a Git LFS pointer.
constexpr size_t kStartBytes = 512;

// A checkpoint with several chat templates has all but the default in this folder.
constexpr char kTemplates[] = "additional_chat_templates";

// The chat templates in `kTemplates`, by name. None where the folder is missing or unreadable.
std::vector<std::string> MoreTemplates(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::path(directory) / kTemplates;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (entry->path().extension() != ".jinja" || !entry->is_regular_file(unreadable)) continue;
    names.push_back(absl::StrCat(kTemplates, "/", entry->path().filename().string()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool IsTokenizer(std::string_view name) {
  return name == "tokenizer.json" || name == "tokenizer.model";
}

}  // namespace

std::vector<std::string> TokenizerFiles::Paths(const std::string& directory) {
  std::vector<std::string> paths;
  for (const std::string_view name : kNames) {
    paths.push_back((std::filesystem::path(directory) / name).string());
  }
  for (const std::string& name : MoreTemplates(directory)) {
    paths.push_back((std::filesystem::path(directory) / name).string());
  }
  return paths;
}

absl::StatusOr<TokenizerFiles> TokenizerFiles::Open(const std::string& directory) {
  std::vector<File> files;
  bool has_tokenizer = false;
  for (const std::string_view name : kNames) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) continue;
    files.push_back({std::string(name), path.string()});
    has_tokenizer |= IsTokenizer(name);
  }
  for (const std::string& name : MoreTemplates(directory)) {
    files.push_back({name, (std::filesystem::path(directory) / name).string()});
  }
  for (const File& file : files) {
    std::ifstream in(file.path, std::ios::binary);
    std::string start(kStartBytes, '\0');
    in.read(start.data(), static_cast<std::streamsize>(start.size()));
    start.resize(static_cast<size_t>(std::max<std::streamsize>(in.gcount(), 0)));
    const std::string pointer = model::LfsPointer(start);
    if (pointer.empty()) continue;
    return MakeError(absl::StatusCode::kNotFound,
                     absl::StrCat("the checkpoint's ", file.name, " is ", pointer,
                                  ", and start the server again; or send token ids"),
                     {v1::ERROR_REASON_NO_TOKENIZER, "", {}});
  }
  if (!has_tokenizer) {
    return MakeError(absl::StatusCode::kNotFound,
                     "the checkpoint has no tokenizer (no tokenizer.json and no tokenizer.model); "
                     "send token ids",
                     {v1::ERROR_REASON_NO_TOKENIZER, "", {}});
  }
  return TokenizerFiles(std::move(files));
}

absl::StatusOr<bool> TokenizerFiles::Next(v1::GetTokenizerResponse& chunk) {
  if (!stream_.is_open()) {
    if (next_ == files_.size()) return false;
    const std::string& path = files_[next_].path;
    std::error_code error;
    size_ = std::filesystem::file_size(path, error);
    stream_.open(path, std::ios::binary);
    if (error || !stream_.is_open()) {
      return absl::InternalError(absl::StrCat("cannot read ", files_[next_].name));
    }
    offset_ = 0;
  }
  const uint64_t bytes = std::min<uint64_t>(size_ - offset_, kChunkBytes);
  chunk.set_name(files_[next_].name);
  chunk.set_size(size_);
  std::string& data = *chunk.mutable_data();
  data.resize(bytes);
  if (!stream_.read(data.data(), static_cast<std::streamsize>(bytes))) {
    return absl::InternalError(absl::StrCat("cannot read ", files_[next_].name));
  }
  offset_ += bytes;
  if (offset_ == size_) {
    stream_ = std::ifstream();
    ++next_;
  }
  return true;
}

}  // namespace hookwire::server
