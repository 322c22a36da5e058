#include "server/observe/load_id.h"

#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/errors/status_macros.h"
#include "server/observe/sha256.h"

namespace hookwire::server {
namespace {

constexpr size_t kHexDigits = 32;

// Each text with its length before it, so that no two lists of texts look alike.
void AddText(Sha256& hash, std::string_view text) {
  hash.Add(absl::StrCat(text.size(), ":"));
  hash.Add(text);
}

absl::Status AddFile(Sha256& hash, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    AddText(hash, "absent");
    return absl::OkStatus();
  }
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad() || !in.is_open()) return absl::InternalError(absl::StrCat("cannot read ", path));
  AddText(hash, "present");
  AddText(hash, text);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> LoadId(const LoadIngredients& ingredients) {
  Sha256 hash;
  AddText(hash, "hookwire load 1");
  AddText(hash, ingredients.name);
  for (const model::FileStamp& file : ingredients.weights) {
    AddText(hash,
            absl::StrCat(file.device, " ", file.inode, " ", file.size, " ",
                         absl::ToUnixNanos(file.modified), " ", absl::ToUnixNanos(file.changed)));
  }
  for (const std::string& path : ingredients.small_files) {
    AddText(hash, std::filesystem::path(path).filename().string());
    HOOKWIRE_RETURN_IF_ERROR(AddFile(hash, path));
  }
  for (const std::string& setting : ingredients.settings) AddText(hash, setting);
  HOOKWIRE_ASSIGN_OR_RETURN(const std::string digest, std::move(hash).Finish());
  return std::string(absl::StripPrefix(digest, "sha256:").substr(0, kHexDigits));
}

}  // namespace hookwire::server
