#include "model/adapter/nearest.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace hookwire::model {
namespace {

// Longer names get no suggestion, because clients may send names of any length.
constexpr size_t kLongest = 256;
constexpr size_t kFar = std::numeric_limits<size_t>::max();

size_t LengthGap(absl::string_view a, absl::string_view b) {
  return std::max(a.size(), b.size()) - std::min(a.size(), b.size());
}

size_t MostEdits(absl::string_view a, absl::string_view b) {
  const size_t longer = std::max(a.size(), b.size());
  return longer <= 2 ? 0 : (longer + 3) / 4;
}

// "resid_pre" of "blocks.*.hook_resid_pre".
absl::string_view LastPart(absl::string_view name) {
  name = name.substr(std::min(name.rfind('.') + 1, name.size()));  // npos + 1 is 0
  while (absl::ConsumePrefix(&name, "*")) continue;
  absl::ConsumePrefix(&name, "hook_");
  return name;
}

bool HasWordsOf(absl::string_view name, absl::string_view wanted) {
  if (wanted.size() <= 2) return false;
  const std::vector<absl::string_view> words = absl::StrSplit(name, '_');
  for (const absl::string_view word : absl::StrSplit(wanted, '_')) {
    if (std::find(words.begin(), words.end(), word) == words.end()) return false;
  }
  return true;
}

// The distance between two last parts; kFar if they are not alike.
size_t PartDistance(absl::string_view wanted, absl::string_view other) {
  if (wanted == other) return 0;
  if (LengthGap(wanted, other) > MostEdits(wanted, other) && !HasWordsOf(other, wanted)) {
    return kFar;
  }
  const size_t distance = EditDistance(wanted, other);
  return distance <= MostEdits(wanted, other) || HasWordsOf(other, wanted) ? distance : kFar;
}

}  // namespace

size_t EditDistance(absl::string_view a, absl::string_view b) {
  // Row i has the distances between the first i characters of `a` and the first j of `b`.
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    std::swap(before_last, last);
    std::swap(last, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({substitute, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
  }
  return row.back();
}

bool IsNear(absl::string_view a, absl::string_view b) {
  const size_t most = MostEdits(a, b);
  return LengthGap(a, b) <= most && EditDistance(a, b) <= most;
}

std::string NearestName(absl::string_view name, absl::Span<const std::string> candidates) {
  name = name.substr(0, kLongest);
  const std::string* nearest = nullptr;
  size_t least = kFar;
  for (const std::string& candidate : candidates) {
    if (LengthGap(name, candidate) >= least) continue;
    const size_t distance = EditDistance(name, candidate);
    if (distance < least) {
      least = distance;
      nearest = &candidate;
    }
  }
  return nearest != nullptr && IsNear(name, *nearest) ? *nearest : std::string();
}

std::string NearestHookName(absl::string_view name, absl::Span<const std::string> candidates) {
  name = absl::StripAsciiWhitespace(name.substr(0, kLongest));
  const absl::string_view wanted = LastPart(name);
  if (wanted.empty()) return "";
  const std::string* nearest = nullptr;
  std::pair<size_t, size_t> least = {kFar, kFar};
  for (const std::string& candidate : candidates) {
    const size_t part = PartDistance(wanted, LastPart(candidate));
    if (part == kFar || part > least.first) continue;
    const std::pair<size_t, size_t> distance = {part, EditDistance(name, candidate)};
    if (distance < least) {
      least = distance;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? std::string() : *nearest;
}

std::string DidYouMean(absl::string_view suggestion, absl::string_view otherwise) {
  return suggestion.empty() ? std::string(otherwise)
                            : absl::StrCat("; did you mean ", suggestion, "?");
}

}  // namespace hookwire::model
