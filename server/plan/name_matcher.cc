#include "server/plan/name_matcher.h"

#include "absl/strings/str_cat.h"

namespace hookwire::server {
namespace {

// The longest filter that is compared with the catalogue. No name is longer.
constexpr size_t kMaxName = 256;
// The most names that are remembered for one request (some 24 MiB); real requests have far fewer.
constexpr size_t kMaxKept = size_t{1} << 20;

NameMatcher::Matches MatchNames(const model::Catalogue& catalogue, const std::string& filter) {
  if (filter.size() <= kMaxName) return catalogue.Match(filter);
  return MakeError(absl::StrCat("no hook point is called ", Quote(filter), ": names have at most ",
                                kMaxName, " characters, and this one has ", filter.size()),
                   {v1::ERROR_REASON_HOOK_NOT_FOUND, "", {{"hook", filter}}});
}

}  // namespace

std::shared_ptr<const NameMatcher::Matches> NameMatcher::Match(const std::string& filter) {
  const auto known = known_.find(filter);
  if (known != known_.end()) return known->second;
  auto matches = std::make_shared<const Matches>(MatchNames(catalogue_, filter));
  kept_ += matches->ok() ? (*matches)->size() : 1;
  if (kept_ <= kMaxKept) known_.emplace(filter, matches);
  return matches;
}

absl::Status BlameOn(const FieldPath& path, const absl::Status& error) {
  ErrorDetails details = DetailsOf(error);
  details.field = path.str();
  return MakeError(std::string(error.message()), details);
}

}  // namespace hookwire::server
