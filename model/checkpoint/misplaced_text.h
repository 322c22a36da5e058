// Texts that lie where another file was meant: what a download leaves behind that did not work.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_TEXT_H_
#define HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hookwire::model {

// What a Git LFS pointer is and what to do, to follow "model.safetensors is "; empty where `bytes`,
// a file's first ones, are none. A repository that was cloned without Git LFS has such a pointer of
// some 130 bytes in place of each large file
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
std::string LfsPointer(absl::string_view bytes);

// The same for any text in place of a safetensors file, by the file's first bytes: a pointer, a web
// page (an error, or a login), JSON, or other text. Empty for what may be a safetensors file.
std::string MisplacedText(absl::string_view bytes);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_TEXT_H_
