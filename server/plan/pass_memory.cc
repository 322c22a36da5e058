// Checks the memory that the passes of a run need.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/plan/activation_memory.h"
#include "server/plan/planning.h"
#include "server/plan/readable.h"
#include "server/plan/sequence_groups.h"

namespace hookwire::server {
namespace {

// The greatest length to which the sequences could be cut so that the pass fits; 0 if none fits.
int64_t LongestThatFits(const Planning& planning, const std::vector<int>& sequences) {
  int64_t fits = 0;
  int64_t too_long = 0;
  for (const int s : sequences) too_long = std::max(too_long, planning.length(s));
  while (too_long - fits > 1) {
    const int64_t middle = fits + (too_long - fits) / 2;
    const uint64_t bytes =
        ActivationBytes(planning.model, planning.limits.numerics, planning.plan, sequences, middle);
    (bytes <= planning.limits.max_activation_bytes ? fits : too_long) = middle;
  }
  return fits;
}

absl::Status TooMuch(const Planning& planning, const std::vector<int>& sequences, uint64_t bytes) {
  const uint64_t limit = planning.limits.max_activation_bytes;
  const int64_t longest = LongestThatFits(planning, sequences);
  const std::string fits = longest > 0
                               ? absl::StrCat("sequences of at most ", longest, " tokens would fit")
                               : std::string("no length of these sequences would fit");
  const FieldPath root("spec");
  return InputError(
      v1::ERROR_REASON_PASS_TOO_LARGE, FieldPath(root, "sequences"),
      absl::StrCat("the pass would work with up to ", bytes, " bytes (", Readable(bytes),
                   "), over this server's limit of ", limit, " (", Readable(limit), "): ", fits,
                   "; attention scores and patterns grow with the square of the length, so asking "
                   "for fewer of them helps too"),
      {{"bytes", absl::StrCat(bytes)},
       {"limit", absl::StrCat(limit)},
       {"tokens", absl::StrCat(longest)}});
}

}  // namespace

absl::Status PlanMemory(Planning& planning) {
  RunPlan& plan = planning.plan;
  for (const SequenceGroup& group : GroupSequences(plan, planning.limits.max_batch_tokens)) {
    const uint64_t bytes =
        ActivationBytes(planning.model, planning.limits.numerics, plan, group.sequences);
    plan.activation_bytes = std::max(plan.activation_bytes, bytes);
    const uint64_t limit = planning.limits.max_activation_bytes;
    if (limit != 0 && bytes > limit) return TooMuch(planning, group.sequences, bytes);
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
