// Finds the hook points that the filters of one request mean.
#ifndef HOOKWIRE_SERVER_PLAN_NAME_MATCHER_H_
#define HOOKWIRE_SERVER_PLAN_NAME_MATCHER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/adapter/catalogue.h"
#include "server/plan/field_path.h"

namespace hookwire::server {

// Compares each distinct filter with the catalogue once, however many captures and interventions
// use it. Thread-compatible.
class NameMatcher {
 public:
  // As Catalogue::Match; NotFound (HOOK_NOT_FOUND) also for a filter that is longer than any name.
  using Matches = absl::StatusOr<std::vector<model::NameMatch>>;

  // `catalogue` must outlive the matcher.
  explicit NameMatcher(const model::Catalogue& catalogue) : catalogue_(catalogue) {}

  std::shared_ptr<const Matches> Match(const std::string& filter);

 private:
  const model::Catalogue& catalogue_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Matches>> known_;
  // Names in `known_`.
  size_t kept_ = 0;
};

// A filter's error, blamed on `path`, with the code that belongs to its reason.
absl::Status BlameOn(const FieldPath& path, const absl::Status& error);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_NAME_MATCHER_H_
