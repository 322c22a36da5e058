// The tokenizer files of a checkpoint directory, read in chunks.
#ifndef HOOKWIRE_SERVER_RPC_TOKENIZER_FILES_H_
#define HOOKWIRE_SERVER_RPC_TOKENIZER_FILES_H_

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::server {

// Thread-compatible. What clients need to encode and decode text: the tokenizer's files and, after
// them, the templates in additional_chat_templates/, whose names include the folder.
class TokenizerFiles {
 public:
  static constexpr size_t kChunkBytes = 1u << 20;

  // Paths of the files that are read, those included that the directory does not have.
  static std::vector<std::string> Paths(const std::string& directory);

  // NotFound (NO_TOKENIZER) where the directory has neither tokenizer.json nor tokenizer.model, or
  // one of the files is a Git LFS pointer.
  static absl::StatusOr<TokenizerFiles> Open(const std::string& directory);

  // The next chunk; false where all have been read. An empty file is one empty chunk. Internal
  // where a file cannot be read or has changed its size meanwhile.
  absl::StatusOr<bool> Next(v1::GetTokenizerResponse& chunk);

 private:
  struct File {
    std::string name;
    std::string path;
  };

  explicit TokenizerFiles(std::vector<File> files) : files_(std::move(files)) {}

  std::vector<File> files_;
  size_t next_ = 0;  // in files_
  std::ifstream stream_;
  uint64_t size_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_TOKENIZER_FILES_H_
