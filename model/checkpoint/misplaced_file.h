// Recognises what failed downloads, and other formats, leave in place of a checkpoint's files.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_FILE_H_
#define HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_FILE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hookwire::model {

// If `bytes`, the first ones of a file, show that it is none of a checkpoint's files: what it is
// and what to do, as the end of a sentence that begins with "tokenizer.json is ". Empty if not.
//
// Recognised are a Git LFS pointer (a repository that was cloned without Git LFS has one of some
// 130 bytes in place of each large file:
// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md), a web page (an error or a login), an
// archive and a compressed file, the latter two by the magic numbers of their formats.
std::string MisplacedFile(absl::string_view bytes);

// As MisplacedFile, for a file in place of a safetensors file: also weights in another format, any
// text, and zeros. Empty if the file may be a safetensors file.
std::string MisplacedWeights(absl::string_view bytes);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_MISPLACED_FILE_H_
