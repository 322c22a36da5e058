#include "server/unread_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/observe/logging.h"
#include "server/rpc/utf8.h"

namespace hookwire::server {
namespace {

// The most names of tensors, and of files, in one warning, and in one v1::Model.
constexpr size_t kShown = 10;
constexpr int kMaxDescribed = 100;
// The longest name that Linux's file systems have, in bytes.
constexpr size_t kMaxName = 255;

// "adapter_model.safetensors (84 tensors)".
void AppendFile(std::string* out, const model::UnreadFile& file) {
  absl::StrAppend(out, file.name);
  if (!file.n_tensors.has_value()) return;
  absl::StrAppend(out, " (", *file.n_tensors, *file.n_tensors == 1 ? " tensor)" : " tensors)");
}

template <typename Item, typename Formatter>
std::string FirstNames(absl::Span<const Item> items, Formatter formatter) {
  return absl::StrCat(absl::StrJoin(items.first(std::min(items.size(), kShown)), ", ", formatter),
                      items.size() > kShown ? ", …" : "");
}

}  // namespace

absl::StatusOr<std::vector<model::UnreadFile>> ReportUnread(const model::Checkpoint& checkpoint,
                                                            absl::Span<const std::string> tensors,
                                                            bool strict, spdlog::logger& logger,
                                                            os::System& system) {
  absl::StatusOr<std::vector<model::UnreadFile>> files = FindUnreadFiles(checkpoint, system);
  if (!files.ok()) {
    if (strict) {
      return absl::Status(
          files.status().code(),
          absl::StrCat(files.status().message(), "; --strict needs to know all of its files"));
    }
    LogEvent(logger, spdlog::level::warn,
             "weight files that are not read, if there are any, cannot be named",
             {{"cause", std::string(files.status().message())}});
    files = std::vector<model::UnreadFile>();
  }
  if (tensors.empty() && files->empty()) return files;

  const std::string tensor_names = FirstNames(tensors, absl::AlphaNumFormatter());
  const std::string file_names = FirstNames(absl::MakeConstSpan(*files), AppendFile);
  if (strict) {
    std::vector<std::string> found;
    if (!tensors.empty()) {
      found.push_back(
          absl::StrCat("tensors that nothing reads (", tensors.size(), "): ", tensor_names));
    }
    if (!files->empty()) {
      found.push_back(
          absl::StrCat("weight files that are not read (", files->size(), "): ", file_names));
    }
    return absl::FailedPreconditionError(
        absl::StrCat(checkpoint.directory(), " has ", absl::StrJoin(found, ", and "),
                     "; without --strict the server starts, and computes without them"));
  }
  nlohmann::ordered_json fields;
  if (!tensors.empty()) {
    fields["tensors"] = tensors.size();
    fields["names"] = tensor_names;
  }
  if (!files->empty()) {
    fields["files"] = files->size();
    fields["file_names"] = file_names;
  }
  const char* const what = files->empty() ? "tensors of the checkpoint that nothing reads"
                           : tensors.empty()
                               ? "weight files of the checkpoint that are not read"
                               : "tensors and weight files of the checkpoint that nothing reads";
  LogEvent(logger, spdlog::level::warn, absl::StrCat(what, ": the model computes without them"),
           fields);
  return files;
}

void DescribeUnreadFiles(absl::Span<const model::UnreadFile> files, v1::Model& out) {
  for (const model::UnreadFile& file : files) {
    if (out.unread_files_size() == kMaxDescribed) break;
    v1::UnreadFile& described = *out.add_unread_files();
    described.set_name(ValidUtf8(file.name, kMaxName));
    if (file.n_tensors.has_value()) {
      described.set_n_tensors(static_cast<uint32_t>(*file.n_tensors));
    }
  }
  out.set_n_unread_files(static_cast<uint32_t>(files.size()));
}

}  // namespace hookwire::server
