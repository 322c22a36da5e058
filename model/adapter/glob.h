#ifndef HOOKWIRE_MODEL_ADAPTER_GLOB_H_
#define HOOKWIRE_MODEL_ADAPTER_GLOB_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hookwire::model {

// Whether `name` as a whole matches `pattern`: `*` stands for any run of characters between dots,
// `**` for any run at all. Time is O(|pattern| × |name|), whatever the pattern, and
// O(|name|²) after ShortestGlob.
bool GlobMatches(absl::string_view pattern, absl::string_view name);

// The pattern with every run of three or more stars shortened to two: it matches the same names.
std::string ShortestGlob(absl::string_view pattern);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_GLOB_H_
