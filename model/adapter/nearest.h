// Suggests a right name for a wrong one.
#ifndef HOOKWIRE_MODEL_ADAPTER_NEAREST_H_
#define HOOKWIRE_MODEL_ADAPTER_NEAREST_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hookwire::model {

// The number of single-character insertions, deletions, substitutions and swaps of neighbours that
// turn `a` into `b` (optimal string alignment distance).
size_t EditDistance(absl::string_view a, absl::string_view b);

// Whether one name may be the other one with typing errors: at most one edit for each four
// characters of the longer name, rounded up, and none in names of one or two characters. "pots" is
// near "post", "loss" is not.
bool IsNear(absl::string_view a, absl::string_view b);

// The candidate with the smallest edit distance to `name`, the first one of several; empty if none
// is near.
std::string NearestName(absl::string_view name, absl::Span<const std::string> candidates);

// As NearestName, for hook names. They have most of their characters in common
// ("blocks.0.hook_resid_pre"), so this compares the last part without "hook_". The candidate's last
// part must be near that of `name`, or contain all of its words: "mlp_out" for "mlp". Of the
// candidates whose last part is the nearest, returns the one with the smallest edit distance of the
// whole name; empty if there is none.
std::string NearestHookName(absl::string_view name, absl::Span<const std::string> candidates);

// The end of an error's sentence: "; did you mean blocks.0.hook_out?", or `otherwise` if the
// suggestion is empty.
std::string DidYouMean(absl::string_view suggestion, absl::string_view otherwise);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_NEAREST_H_
