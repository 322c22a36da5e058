// The errors for files of a checkpoint that are missing. Each says what is there in their place,
// and what to do, where that can be told.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_MISSING_FILE_H_
#define HOOKWIRE_MODEL_CHECKPOINT_MISSING_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "os/system.h"

namespace hookwire::model {

// Nothing is at the path that should be the checkpoint's directory.
absl::Status NoDirectory(const std::string& path);

// The directory has no config.json.
absl::Status NoConfig(const std::string& directory, os::System& system);

// The directory has neither model.safetensors nor model.safetensors.index.json.
absl::Status NoWeights(const std::string& directory, os::System& system);

// The directory has no file `name`, which model.safetensors.index.json names.
absl::Status NoShard(const std::string& directory, const std::string& name, os::System& system);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_MISSING_FILE_H_
