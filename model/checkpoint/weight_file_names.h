// Tells weight files by their names.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_WEIGHT_FILE_NAMES_H_
#define HOOKWIRE_MODEL_CHECKPOINT_WEIGHT_FILE_NAMES_H_

#include "absl/strings/string_view.h"

namespace hookwire::model {

inline constexpr char kSingleFile[] = "model.safetensors";
inline constexpr char kIndexFile[] = "model.safetensors.index.json";

// Whether it ends with ".safetensors", and is not hidden.
bool IsSafetensorsName(absl::string_view name);

// Whether it is a name of weights in another format: it ends with .bin, .gguf, .pt, .pth, .ckpt,
// .h5, .msgpack or .npz, and is neither hidden nor the name of a training run's state, such as
// optimizer.pt or training_args.bin.
bool IsOtherWeightName(absl::string_view name);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_WEIGHT_FILE_NAMES_H_
