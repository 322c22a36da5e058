// The tokenizer files of a checkpoint directory.
#ifndef HOOKWIRE_SERVER_RPC_TOKENIZER_FILES_H_
#define HOOKWIRE_SERVER_RPC_TOKENIZER_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hookwire::server {

// What clients need to encode and decode text. The files are read once, when the server starts: the
// load id is computed over these bytes and clients get these bytes, so that files that are replaced
// on disk later give nobody another tokenizer under the same load id. Immutable; any thread.
class TokenizerFiles {
 public:
  // The most bytes of all files together. Gemma's tokenizer.json has 32 MiB.
  static constexpr uint64_t kMaxBytes = uint64_t{256} << 20;

  struct File {
    // Within the directory: "tokenizer.json", "additional_chat_templates/rag.jinja".
    std::string name;
    std::string content;
  };

  // None.
  TokenizerFiles() = default;

  // The files that `directory` has of those that Transformers reads for a tokenizer, and after them
  // the templates in additional_chat_templates/, sorted by name. FailedPrecondition with the path
  // if a file cannot be read, is no regular file or changes while it is read; InvalidArgument if
  // they have more than `max_bytes` in all.
  static absl::StatusOr<TokenizerFiles> Read(const std::string& directory,
                                             uint64_t max_bytes = kMaxBytes);

  const std::vector<File>& files() const { return files_; }

  // Whether a client can make a tokenizer of them. NotFound (NO_TOKENIZER) if there is neither
  // tokenizer.json nor tokenizer.model, or if something else is in place of one of the files
  // (model/checkpoint/misplaced_file.h), such as a Git LFS pointer or a web page.
  absl::Status Check() const;

 private:
  explicit TokenizerFiles(std::vector<File> files) : files_(std::move(files)) {}

  std::vector<File> files_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_TOKENIZER_FILES_H_
