#include "server/rpc/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/misplaced_file.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

constexpr std::array<std::string_view, 8> kNames = {
    "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json",    "generation_config.json",  "tokenizer.model",
};

// Where a checkpoint with several chat templates has all but the default one.
constexpr char kTemplates[] = "additional_chat_templates";

// The chat templates in `kTemplates`, sorted. None if the folder is missing or cannot be listed.
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

absl::Status Unreadable(const std::filesystem::path& path, absl::string_view cause) {
  return absl::FailedPreconditionError(absl::StrCat("cannot read ", path.string(), ": ", cause));
}

absl::StatusOr<std::string> ReadWhole(const std::filesystem::path& path, uint64_t size) {
  std::ifstream in(path, std::ios::binary);
  if (!in.is_open()) return Unreadable(path, std::strerror(errno));
  std::string content(size, '\0');
  in.read(content.data(), static_cast<std::streamsize>(size));
  if (in.bad()) return Unreadable(path, std::strerror(errno));
  if (!in || in.peek() != std::ifstream::traits_type::eof()) {
    return Unreadable(path, "its size changed meanwhile");
  }
  return content;
}

bool IsTokenizer(std::string_view name) {
  return name == "tokenizer.json" || name == "tokenizer.model";
}

}  // namespace

absl::StatusOr<TokenizerFiles> TokenizerFiles::Read(const std::string& directory,
                                                    uint64_t max_bytes) {
  std::vector<std::string> names(kNames.begin(), kNames.end());
  for (std::string& name : MoreTemplates(directory)) names.push_back(std::move(name));
  std::vector<File> files;
  uint64_t room = max_bytes;
  for (std::string& name : names) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    std::error_code error;
    const auto kind = std::filesystem::status(path, error);
    if (!std::filesystem::is_regular_file(kind)) {
      if (!std::filesystem::exists(std::filesystem::symlink_status(path, error))) continue;
      return Unreadable(path,
                        std::filesystem::exists(kind)
                            ? "it is not a regular file"
                            : "it is a link to a file that does not exist: download it again");
    }
    const uint64_t size = std::filesystem::file_size(path, error);
    if (error) return Unreadable(path, error.message());
    if (size > room) {
      return absl::InvalidArgumentError(absl::StrCat(path.string(), " has ", size,
                                                     " bytes; the tokenizer's files may have ",
                                                     max_bytes, " in all"));
    }
    room -= size;
    HOOKWIRE_ASSIGN_OR_RETURN(std::string content, ReadWhole(path, size));
    files.push_back({std::move(name), std::move(content)});
  }
  return TokenizerFiles(std::move(files));
}

absl::Status TokenizerFiles::Check() const {
  for (const File& file : files_) {
    const std::string what = model::MisplacedFile(file.content);
    if (what.empty()) continue;
    return MakeError(absl::StatusCode::kNotFound,
                     absl::StrCat("the checkpoint's ", file.name, " is ", what,
                                  ", and start the server again; or send token ids"),
                     {v1::ERROR_REASON_NO_TOKENIZER, "", {}});
  }
  if (std::none_of(files_.begin(), files_.end(),
                   [](const File& file) { return IsTokenizer(file.name); })) {
    return MakeError(absl::StatusCode::kNotFound,
                     "the checkpoint has no tokenizer (no tokenizer.json and no tokenizer.model); "
                     "send token ids",
                     {v1::ERROR_REASON_NO_TOKENIZER, "", {}});
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
