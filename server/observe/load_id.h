// The name of a load: of a checkpoint as one process has loaded it, with the settings that its
// answers depend on.
#ifndef HOOKWIRE_SERVER_OBSERVE_LOAD_ID_H_
#define HOOKWIRE_SERVER_OBSERVE_LOAD_ID_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/mapped_file.h"

namespace hookwire::server {

// What a load id is made of.
struct LoadIngredients {
  // The checkpoint directory's name, which clients are shown.
  std::string name;
  // Weight files, in the order of their names. They are too large to be read for this: one file is
  // told from another by device, inode, size and both times. The time of the last change (ctime)
  // cannot be put back, so that a fine-tune of equal size and time is another file.
  std::vector<model::FileStamp> weights;
  // Paths of small files, read whole: config.json and the tokenizer's. One that is not there counts
  // as such.
  std::vector<std::string> small_files;
  // Whatever else an answer depends on: dtype, numerics, device, build.
  std::vector<std::string> settings;
};

// 32 hex digits: the first half of a SHA-256 over the ingredients. The same for two starts exactly
// where all ingredients are. Internal or NotFound where a file that is there cannot be read.
absl::StatusOr<std::string> LoadId(const LoadIngredients& ingredients);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_LOAD_ID_H_
