// Plans the captures: from names, selections and dtypes to tensors.
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/errors/status_macros.h"
#include "server/plan/dtypes.h"
#include "server/plan/hook_slicer.h"
#include "server/plan/planning.h"

namespace hookwire::server {
namespace {

// The longest list of names for which an error has the corrected list: one that a person would
// read.
constexpr int kMaxCorrectedNames = 32;
// The most captures of the same hash that a new one is compared with; beyond that, it gets tensors
// of its own.
constexpr size_t kMaxCompared = 64;

bool SamePick(const AxisPick& a, const AxisPick& b) {
  if (a.start != b.start || a.step != b.step || a.count != b.count) return false;
  if (a.indices.is_same(b.indices)) return true;
  return a.indices.defined() && b.indices.defined() && at::equal(a.indices, b.indices);
}

bool SameTensors(const std::vector<TensorPlan>& a, const std::vector<TensorPlan>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const TensorPlan& x, const TensorPlan& y) {
                      return x.slice.sequence == y.slice.sequence &&
                             std::equal(x.slice.picks.begin(), x.slice.picks.end(),
                                        y.slice.picks.begin(), y.slice.picks.end(), SamePick);
                    });
}

// A hash that is equal for equal captures; of a list of indices it uses only the length.
size_t HashOf(const CapturePlan& capture) {
  size_t hash = absl::HashOf(capture.hook, capture.before_interventions,
                             static_cast<int>(capture.dtype), capture.tensors.size());
  for (const TensorPlan& tensor : capture.tensors) {
    hash = absl::HashOf(hash, tensor.slice.sequence);
    for (const AxisPick& pick : tensor.slice.picks) {
      hash = absl::HashOf(hash, pick.start, pick.step, pick.count);
    }
  }
  return hash;
}

bool Same(const CapturePlan& a, const CapturePlan& b) {
  return a.hook == b.hook && a.before_interventions == b.before_interventions &&
         a.dtype == b.dtype && SameTensors(a.tensors, b.tensors);
}

// Whether a name that matches nothing is a hook point of other layers or other Gemma 4 models.
bool ExistsElsewhere(const absl::Status& error) {
  const ErrorDetails details = DetailsOf(error);
  if (details.reason != v1::ERROR_REASON_GLOB_NO_MATCH)
    return details.reason == v1::ERROR_REASON_HOOK_ABSENT;
  return std::any_of(details.metadata.begin(), details.metadata.end(),
                     [](const auto& item) { return item.first == "cause"; });
}

bool MayBeSkipped(const v1::Capture& capture, const absl::Status& error) {
  return capture.missing() == v1::MISSING_SKIP && ExistsElsewhere(error);
}

void AddOnce(std::vector<std::string>& names, std::string name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

class CapturePlanner {
 public:
  explicit CapturePlanner(Planning& planning)
      : planning_(planning), plans_(planning.plan.captures) {}

  absl::Status Run() {
    const v1::RunSpec& spec = planning_.spec;
    for (int i = 0; i < spec.captures_size(); ++i) {
      HOOKWIRE_RETURN_IF_ERROR(Add(spec.captures(i), i));
    }
    std::stable_sort(plans_.begin(), plans_.end(), [](const CapturePlan& a, const CapturePlan& b) {
      if (a.hook != b.hook) return a.hook < b.hook;
      return a.before_interventions && !b.before_interventions;
    });
    return absl::OkStatus();
  }

 private:
  absl::Status Add(const v1::Capture& capture, int index) {
    const FieldPath root("spec");
    const FieldPath path(root, "captures", index);
    const FieldPath hook(path, "hook");
    HOOKWIRE_RETURN_IF_ERROR(planning_.keep_going());
    const std::shared_ptr<const NameMatcher::Matches> found = planning_.names.Match(capture.hook());
    const NameMatcher::Matches& matches = *found;
    if (!matches.ok()) {
      const absl::Status error = BlameOn(hook, matches.status());
      if (!MayBeSkipped(capture, error)) return WithCorrectedList(error);
      if (skipped_.insert(capture.hook()).second) {
        planning_.plan.skipped.push_back(capture.hook());
      }
      return absl::OkStatus();
    }
    HOOKWIRE_ASSIGN_OR_RETURN(
        const std::vector<int> sequences,
        PickSequences(capture.sequences(), planning_.n_sequences(), FieldPath(path, "sequences")));

    const bool is_glob = model::Catalogue::IsGlob(capture.hook());
    HookSlicer slicer(capture, path);
    // The names of one hook point are adjacent, so the last plan is usually the right one.
    model::HookId last_hook = model::kNoHook;
    size_t last_plan = 0;
    bool fired = false;
    for (const model::NameMatch& match : *matches) {
      const model::HookPoint& point = planning_.catalogue().point(match.id);
      if (match.id != last_hook) {
        // A glob leaves out hook points that the pass does not reach; for a name that is an error.
        if (!FiresBefore(point, planning_.stop)) {
          if (is_glob) continue;
          return BehindStop(point, *planning_.stop, hook);
        }
        HOOKWIRE_RETURN_IF_ERROR(planning_.keep_going());
        HOOKWIRE_ASSIGN_OR_RETURN(CapturePlan plan,
                                  MakePlan(capture, point, sequences, slicer, path));
        last_plan = Merge(std::move(plan));
        last_hook = match.id;
        std::vector<uint32_t>& captures = plans_[last_plan].captures;
        if (captures.empty() || captures.back() != static_cast<uint32_t>(index)) {
          captures.push_back(static_cast<uint32_t>(index));
        }
      }
      fired = true;
      AddOnce(plans_[last_plan].names, std::string(match.name));
    }
    if (fired) return absl::OkStatus();
    return BehindStop(planning_.catalogue().point(matches->front().id), *planning_.stop, hook);
  }

  absl::StatusOr<CapturePlan> MakePlan(const v1::Capture& capture, const model::HookPoint& point,
                                       const std::vector<int>& sequences, HookSlicer& slicer,
                                       const FieldPath& path) {
    HOOKWIRE_RETURN_IF_ERROR(slicer.CheckAxes(point));
    HOOKWIRE_RETURN_IF_ERROR(CountTensors(sequences.size(), path));
    CapturePlan plan;
    plan.hook = point.id;
    plan.before_interventions = capture.moment() == v1::MOMENT_BEFORE;
    HOOKWIRE_ASSIGN_OR_RETURN(
        plan.dtype, WireDtype(capture.dtype(), DtypeOf(point.dtype, planning_.model.dtype()),
                              point.name, FieldPath(path, "dtype")));
    plan.tensors.reserve(sequences.size());
    for (const int s : sequences) {
      TensorPlan tensor;
      HOOKWIRE_ASSIGN_OR_RETURN(tensor.slice, slicer.Make(point, s, planning_.length(s)));
      tensor.shape = ShapeOf(tensor.slice);
      plan.tensors.push_back(std::move(tensor));
    }
    return plan;
  }

  // The number of the plan that sends the same tensors: an earlier one, or this one.
  size_t Merge(CapturePlan plan) {
    std::vector<size_t>& alike = by_hash_[HashOf(plan)];
    const size_t compared = std::min(alike.size(), kMaxCompared);
    for (size_t i = alike.size() - compared; i < alike.size(); ++i) {
      if (Same(plans_[alike[i]], plan)) return alike[i];
    }
    alike.push_back(plans_.size());
    plans_.push_back(std::move(plan));
    return plans_.size() - 1;
  }

  // Limits the work of planning; the exact limit on the result is checked later.
  absl::Status CountTensors(size_t more, const FieldPath& path) {
    asked_ += more;
    const uint64_t limit = 4 * planning_.limits.max_tensors;
    if (asked_ <= limit) return absl::OkStatus();
    return InputError(
        v1::ERROR_REASON_TOO_MANY_TENSORS, path,
        absl::StrCat("the captures ask for more than ", limit,
                     " tensors, counting repeated ones: this server sends at most ",
                     planning_.limits.max_tensors, " in one run"),
        {{"tensors", absl::StrCat(asked_)}, {"limit", absl::StrCat(planning_.limits.max_tensors)}});
  }

  // Adds "corrected" to the error: the whole list of names with the wrong ones corrected, if all of
  // them can be.
  absl::Status WithCorrectedList(const absl::Status& error) const {
    const v1::RunSpec& spec = planning_.spec;
    if (spec.captures_size() < 2 || spec.captures_size() > kMaxCorrectedNames) return error;
    std::vector<std::string> names;
    for (const v1::Capture& capture : spec.captures()) {
      const std::shared_ptr<const NameMatcher::Matches> matches =
          planning_.names.Match(capture.hook());
      if (matches->ok()) {
        AddOnce(names, capture.hook());
        continue;
      }
      if (MayBeSkipped(capture, matches->status())) continue;
      const ErrorDetails details = DetailsOf(matches->status());
      const auto suggestion =
          std::find_if(details.metadata.begin(), details.metadata.end(),
                       [](const auto& item) { return item.first == "suggestion"; });
      if (suggestion == details.metadata.end()) return error;
      AddOnce(names, suggestion->second);
    }
    ErrorDetails details = DetailsOf(error);
    const std::string corrected = absl::StrJoin(names, ", ");
    details.metadata.emplace_back("corrected", corrected);
    return MakeError(
        absl::StrCat(std::string(error.message()), " (the list put right: ", corrected, ")"),
        details);
  }

  Planning& planning_;
  std::vector<CapturePlan>& plans_;
  absl::flat_hash_map<size_t, std::vector<size_t>> by_hash_;
  absl::flat_hash_set<std::string> skipped_;
  uint64_t asked_ = 0;
};

}  // namespace

absl::Status PlanCaptures(Planning& planning) { return CapturePlanner(planning).Run(); }

}  // namespace hookwire::server
