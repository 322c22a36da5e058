// Recognises texts in place of a checkpoint's files, which failed downloads leave behind.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_TEXT_H_
#define HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hookwire::model {

// If `bytes`, the first ones of a file, are a Git LFS pointer: what that is and what to do, as the
// end of a sentence that begins with "model.safetensors is ". Empty if not. A repository that was
// cloned without Git LFS has such a pointer of some 130 bytes in place of each large file
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
std::string LfsPointer(absl::string_view bytes);

// As LfsPointer, for any text in place of a safetensors file: a pointer, a web page (an error or a
// login), JSON, or other text. Empty if the file may be a safetensors file.
std::string MisplacedText(absl::string_view bytes);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_TEXT_H_
