// Finds weight files in a checkpoint's directory that are not read.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_UNREAD_FILES_H_
#define HOOKWIRE_MODEL_CHECKPOINT_UNREAD_FILES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "os/system.h"

namespace hookwire::model {

struct UnreadFile {
  // Within the directory: "adapter_model.safetensors".
  std::string name;
  // How many tensors a safetensors file has; nullopt for other formats, and for a safetensors file
  // that is broken or cannot be read.
  std::optional<size_t> n_tensors;
};

// The weight files in the checkpoint's directory that are not read, sorted by name: for example an
// adapter's (adapter_model.safetensors), a shard that the index does not name, the same weights in
// another format (pytorch_model.bin, consolidated.safetensors). Weight files are known by their
// names (weight_file_names.h). Of these, only the headers of safetensors files are read. Left out
// are subdirectories, and second names of files that are read (links).
//
// The system's error, with the path, if the directory cannot be listed.
absl::StatusOr<std::vector<UnreadFile>> FindUnreadFiles(const Checkpoint& checkpoint,
                                                        os::System& system = os::RealSystem());

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_UNREAD_FILES_H_
