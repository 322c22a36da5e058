// A checkpoint directory: config.json and the safetensors files, mapped into memory.
//
// In: a directory as `save_pretrained` writes it, sharded or not. Out: tensors by name, which are
// views of the mapped files. Thread-safe after Open.
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

// A change of a weight file since it was mapped.
struct FileChange {
  std::string path;
  // In a few words: "size 10 → 5 bytes".
  std::string what;
};

class Checkpoint {
 public:
  // NotFound or InvalidArgument, with the path and the cause, if the directory is missing or not a
  // Gemma 4 checkpoint, or if a weight file is missing, truncated or has overlapping tensors. The
  // system's error, with the path, if a file cannot be read or mapped. `system` must outlive the
  // checkpoint.
  static absl::StatusOr<std::shared_ptr<const Checkpoint>> Open(
      const std::string& directory, os::System& system = os::RealSystem());

  const Config& config() const { return config_; }
  // The text of config.json that `config` was parsed from.
  const std::string& config_text() const { return config_text_; }
  const std::string& directory() const { return directory_; }
  // The last component of the directory's path.
  std::string name() const;

  bool Has(absl::string_view tensor) const { return tensors_.contains(tensor); }
  // A tensor that is a view of the mapped file, and keeps it mapped. NotFound with the nearest
  // name.
  absl::StatusOr<at::Tensor> Get(absl::string_view tensor) const;
  // Names of all tensors, sorted.
  std::vector<std::string> names() const;
  // The weight files, sorted by name. The weights digest is computed over them in this order.
  std::vector<std::shared_ptr<const MappedFile>> weight_files() const;

  // How the weight files differ from what was mapped; nothing if they do not. If this finds a
  // change, all results that were computed since the last call that found none may be wrong. Makes
  // one system call for each file, and one more.
  std::optional<FileChange> Change() const;
  // OK, or why Change does not see a write after which the writer resets the modification time.
  const absl::Status& watch_status() const { return watch_.status(); }

 private:
  explicit Checkpoint(os::System& system) : system_(system), watch_(system) {}

  os::System& system_;
  std::string directory_;
  std::string config_text_;
  Config config_;
  // Sorted by name.
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  WriteWatch watch_;
  // Tensor name to the file that holds it.
  absl::flat_hash_map<std::string, const SafetensorsFile*> tensors_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_CHECKPOINT_H_
