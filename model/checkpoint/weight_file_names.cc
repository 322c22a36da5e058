#include "model/checkpoint/weight_file_names.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"

namespace hookwire::model {
namespace {

constexpr absl::string_view kOtherFormats[] = {".bin",  ".gguf", ".pt",      ".pth",
                                               ".ckpt", ".h5",   ".msgpack", ".npz"};
// What Transformers' Trainer and Accelerate write beside the weights: optimizer.pt, scheduler.bin,
// rng_state_0.pth.
constexpr absl::string_view kTrainingState[] = {"optimizer", "scheduler", "scaler",
                                                "sampler",   "rng_state", "training_args"};

bool IsHidden(absl::string_view name) { return absl::StartsWith(name, "."); }

}  // namespace

bool IsSafetensorsName(absl::string_view name) {
  return absl::EndsWithIgnoreCase(name, ".safetensors") && !IsHidden(name);
}

bool IsOtherWeightName(absl::string_view name) {
  return !IsHidden(name) &&
         std::any_of(
             std::begin(kOtherFormats), std::end(kOtherFormats),
             [name](absl::string_view end) { return absl::EndsWithIgnoreCase(name, end); }) &&
         std::none_of(std::begin(kTrainingState), std::end(kTrainingState),
                      [name](absl::string_view start) { return absl::StartsWith(name, start); });
}

}  // namespace hookwire::model
