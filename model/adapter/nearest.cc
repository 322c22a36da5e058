#include "model/adapter/nearest.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace hookwire::model {

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substitute = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substitute, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string NearestName(absl::string_view name, absl::Span<const std::string> candidates) {
  // Names that clients send may be of any length; beyond this nothing is near.
  constexpr size_t kLongest = 256;
  name = name.substr(0, kLongest);
  const std::string* nearest = nullptr;
  size_t least = std::numeric_limits<size_t>::max();
  for (const std::string& candidate : candidates) {
    const size_t gap =
        std::max(name.size(), candidate.size()) - std::min(name.size(), candidate.size());
    if (gap >= least) continue;
    const size_t distance = EditDistance(name, candidate);
    if (distance < least) {
      least = distance;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? std::string() : *nearest;
}

}  // namespace hookwire::model
