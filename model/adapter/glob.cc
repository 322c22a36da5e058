#include "model/adapter/glob.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace hookwire::model {

bool GlobMatches(absl::string_view pattern, absl::string_view name) {
  // reached[j]: the pattern so far can match the first j characters of the name.
  std::vector<char> reached(name.size() + 1, 0);
  std::vector<char> next(name.size() + 1, 0);
  reached[0] = 1;
  for (size_t i = 0; i < pattern.size(); ++i) {
    std::fill(next.begin(), next.end(), 0);
    if (pattern[i] == '*') {
      const bool crosses_dots = i + 1 < pattern.size() && pattern[i + 1] == '*';
      if (crosses_dots) ++i;
      bool open = false;
      for (size_t j = 0; j <= name.size(); ++j) {
        if (j > 0 && !crosses_dots && name[j - 1] == '.') open = false;
        open = open || reached[j] != 0;
        next[j] = open ? 1 : 0;
      }
    } else {
      bool any = false;
      for (size_t j = 0; j < name.size(); ++j) {
        const bool matches = reached[j] != 0 && name[j] == pattern[i];
        next[j + 1] = matches ? 1 : 0;
        any = any || matches;
      }
      // If no beginning of the name is left, the rest of the pattern cannot match.
      if (!any) return false;
    }
    std::swap(reached, next);
  }
  return reached[name.size()] != 0;
}

std::string ShortestGlob(absl::string_view pattern) {
  std::string shortest;
  for (const char c : pattern) {
    const size_t n = shortest.size();
    if (c == '*' && n >= 2 && shortest[n - 1] == '*' && shortest[n - 2] == '*') continue;
    shortest.push_back(c);
  }
  return shortest;
}

}  // namespace hookwire::model
