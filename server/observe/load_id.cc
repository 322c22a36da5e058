#include "server/observe/load_id.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/errors/status_macros.h"
#include "server/observe/sha256.h"

namespace hookwire::server {
namespace {

constexpr size_t kHexDigits = 32;

// Adds a text with its length before it, so that different lists of texts give different bytes.
void AddText(Sha256& hash, std::string_view text) {
  hash.Add(absl::StrCat(text.size(), ":"));
  hash.Add(text);
}

// A list with its length before it, so that an item of one list is no item of the next.
template <typename List, typename AddItem>
void AddList(Sha256& hash, const List& list, const AddItem& add_item) {
  AddText(hash, absl::StrCat(list.size()));
  for (const auto& item : list) add_item(item);
}

}  // namespace

absl::StatusOr<std::string> LoadId(const LoadIngredients& ingredients) {
  Sha256 hash;
  AddText(hash, "hookwire load 2");
  AddText(hash, ingredients.name);
  AddList(hash, ingredients.weights, [&hash](const model::FileStamp& file) {
    AddText(hash,
            absl::StrCat(file.device, " ", file.inode, " ", file.size, " ",
                         absl::ToUnixNanos(file.modified), " ", absl::ToUnixNanos(file.changed)));
  });
  AddList(hash, ingredients.small_files, [&hash](const auto& file) {
    AddText(hash, file.first);
    AddText(hash, file.second);
  });
  AddList(hash, ingredients.settings,
          [&hash](const std::string& setting) { AddText(hash, setting); });
  HOOKWIRE_ASSIGN_OR_RETURN(const std::string digest, std::move(hash).Finish());
  return std::string(absl::StripPrefix(digest, "sha256:").substr(0, kHexDigits));
}

}  // namespace hookwire::server
