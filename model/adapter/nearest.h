#ifndef HOOKWIRE_MODEL_ADAPTER_NEAREST_H_
#define HOOKWIRE_MODEL_ADAPTER_NEAREST_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hookwire::model {

// The number of single-character insertions, deletions and substitutions that turn `a` into `b`
// (Levenshtein's distance).
size_t EditDistance(absl::string_view a, absl::string_view b);

// The candidate with the least edit distance to `name`, the first of equals; empty where there are
// no candidates.
std::string NearestName(absl::string_view name, absl::Span<const std::string> candidates);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_NEAREST_H_
