// The small text files of a checkpoint: config.json and the index of the weight files.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_TEXT_FILE_H_
#define HOOKWIRE_MODEL_CHECKPOINT_TEXT_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "os/system.h"

namespace hookwire::model {

// The whole text. InvalidArgument if it is empty or more than 64 MiB, if it is something else in
// place of the file (misplaced_file.h), or if it is no regular file; the system's error if it
// cannot be read. Each with the path and the cause.
absl::StatusOr<std::string> ReadText(const std::string& path, os::System& system);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_TEXT_FILE_H_
