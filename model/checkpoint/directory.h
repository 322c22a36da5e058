// Lists a directory, and looks at what is at a path.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_DIRECTORY_H_
#define HOOKWIRE_MODEL_CHECKPOINT_DIRECTORY_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "os/system.h"

namespace hookwire::model {

// The names of what is in the directory, sorted, without "." and "..". The system's error, with the
// path, if it cannot be listed.
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path, os::System& system);

// The kind of file that `path` leads to, as S_IFREG or S_IFDIR; 0 if there is none. The system's
// error, with the path, if it cannot be looked at.
absl::StatusOr<mode_t> KindOf(const std::string& path, os::System& system);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_DIRECTORY_H_
