// Which right name somebody may have meant who wrote a wrong one.
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

// Whether one name may be a slip of the other: at most one edit for every four characters begun of
// the longer one, and none in names of one or two characters. "pots" is near "post", "loss" is not.
bool IsNear(absl::string_view a, absl::string_view b);

// The candidate with the least edit distance to `name`, the first of equals; empty where none is
// near.
std::string NearestName(absl::string_view name, absl::Span<const std::string> candidates);

// For hook names, which share most of their characters ("blocks.0.hook_resid_pre"): what counts is
// the last part without "hook_". That of the candidate must be near, or have all words of the
// other's ("mlp" is like "mlp_out"). Of the candidates whose last part is the nearest, the one with
// the least edit distance as a whole; empty where none is like it.
std::string NearestHookName(absl::string_view name, absl::Span<const std::string> candidates);

// "; did you mean blocks.0.hook_out?", to follow an error's sentence; `otherwise` where there is no
// suggestion.
std::string DidYouMean(absl::string_view suggestion, absl::string_view otherwise);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_NEAREST_H_
