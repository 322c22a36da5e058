// The id of a load: a checkpoint as this process has loaded it, with the settings that its results
// depend on.
#ifndef HOOKWIRE_SERVER_OBSERVE_LOAD_ID_H_
#define HOOKWIRE_SERVER_OBSERVE_LOAD_ID_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/mapped_file.h"

namespace hookwire::server {

// What a load id is computed from.
struct LoadIngredients {
  // The checkpoint directory's name, which clients are shown.
  std::string name;
  // The weight files, sorted by name. They are too large to be read for this, so a file is
  // identified by its device, inode, size and times. Nobody can reset the time of the last change
  // (ctime), so a fine-tune with the same size and modification time is another file.
  std::vector<model::FileStamp> weights;
  // config.json and the tokenizer's files: each file's name and its content as this process read
  // it.
  std::vector<std::pair<std::string, std::string>> small_files;
  // What else a result depends on: dtype, numerics, device, build.
  std::vector<std::string> settings;
};

// 32 hex digits: the first half of a SHA-256 over the ingredients. Two starts have the same id if
// and only if all their ingredients are equal. Internal if the hash cannot be computed.
absl::StatusOr<std::string> LoadId(const LoadIngredients& ingredients);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_LOAD_ID_H_
