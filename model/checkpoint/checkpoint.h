// A checkpoint directory: config.json and the safetensors files, mapped into memory.
//
// In: a directory as `save_pretrained` writes it, sharded or not. Out: tensors by name that lie
// over the mapped pages. Thread-safe after Open.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_CHECKPOINT_H_
#define HOOKWIRE_MODEL_CHECKPOINT_CHECKPOINT_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/mapped_file.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/write_watch.h"
#include "model/config/config.h"

namespace hookwire::model {

// What has happened to a weight file since it was mapped.
struct FileChange {
  std::string path;
  // In a few words: "size 10 → 5 bytes".
  std::string what;
};

class Checkpoint {
 public:
  // NotFound or InvalidArgument with the path and the cause, where the directory is missing, is no
  // Gemma 4, or a weight file is truncated, overlapping or missing.
  static absl::StatusOr<std::shared_ptr<const Checkpoint>> Open(const std::string& directory);

  const Config& config() const { return config_; }
  const std::string& directory() const { return directory_; }
  // The directory's last part.
  std::string name() const;

  bool Has(absl::string_view tensor) const { return tensors_.contains(tensor); }
  // A tensor over the mapped pages; it keeps the mapping alive. NotFound with the nearest name.
  absl::StatusOr<at::Tensor> Get(absl::string_view tensor) const;
  // Names of all tensors, sorted.
  std::vector<std::string> names() const;
  // The weight files, sorted by name: what the weights digest is computed over.
  std::vector<std::shared_ptr<const MappedFile>> weight_files() const;

  // How the weight files differ from what was mapped; nothing where they do not. Whatever was
  // computed since the last call that found nothing may be wrong where this one finds something.
  // Costs a system call for each file, and one more.
  std::optional<FileChange> Change() const;

 private:
  Checkpoint() = default;

  std::string directory_;
  Config config_;
  // Sorted by name.
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  WriteWatch watch_;
  // Tensor name to the file that holds it.
  absl::flat_hash_map<std::string, const SafetensorsFile*> tensors_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_CHECKPOINT_H_
