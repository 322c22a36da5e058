// Plans the interventions: from names, selections and values to operations that can be applied
// without further checks.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/errors/status_macros.h"
#include "server/plan/dtypes.h"
#include "server/plan/hook_slicer.h"
#include "server/plan/ops.h"
#include "server/plan/planning.h"
#include "server/plan/values.h"

namespace hookwire::server {
namespace {

// Finds changes that nothing in the run could show, because nothing is read after them.
class LastWanted {
 public:
  explicit LastWanted(const Planning& planning) : planning_(planning) {
    const RunPlan& plan = planning.plan;
    // A callback is a read too.
    for (size_t i = 0; i < plan.ops.size(); ++i) {
      if (plan.ops[i].is_shown() && plan.ops[i].hook >= hook_) {
        hook_ = plan.ops[i].hook;
        last_callback_ = i;
      }
    }
    if (!plan.captures.empty() && plan.captures.back().hook >= hook_) {
      // Captures of one hook point are sorted: those before the interventions come first.
      const bool after = !plan.captures.back().before_interventions;
      captured_after_ = after;
      if (plan.captures.back().hook > hook_) last_callback_ = kNone;
      hook_ = plan.captures.back().hook;
    }
    for (const OutputPlan& output : plan.outputs) {
      has_logits_ |= output.source != v1::TensorGroup::SOURCE_RESIDUAL;
      has_residual_ |= output.source == v1::TensorGroup::SOURCE_RESIDUAL;
    }
  }

  // Whether something is read after plan.ops[index].
  bool Shows(size_t index) const {
    const OpPlan& op = planning_.plan.ops[index];
    const model::HookPoint& point = planning_.catalogue().point(op.hook);
    if (op.is_shown() || has_logits_) return true;
    if (has_residual_ && FiresBefore(point, planning_.stop)) return true;
    if (op.hook != hook_) return op.hook < hook_;
    return captured_after_ || (last_callback_ != kNone && index < last_callback_);
  }

  absl::Status Error(const model::HookPoint& point, const FieldPath& path) const {
    Metadata metadata = {{"hook", point.name}};
    if (planning_.stop.has_value()) {
      metadata.emplace_back("stop_at_layer", absl::StrCat(*planning_.stop));
    }
    const std::string cause =
        hook_ == model::kNoHook
            ? "the run returns nothing"
            : absl::StrCat(
                  "the pass ends after ", planning_.catalogue().point(hook_).name,
                  captured_after_ || last_callback_ != kNone ? "" : " (read before interventions)",
                  ", the last place that is read");
    return InputError(v1::ERROR_REASON_NEVER_FIRES, path,
                      absl::StrCat("a change at ", point.name, " can never show: ", cause,
                                   "; capture something later, or ask for logits"),
                      std::move(metadata));
  }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  const Planning& planning_;
  model::HookId hook_ = model::kNoHook;
  size_t last_callback_ = kNone;  // at hook_
  bool captured_after_ = false;   // at hook_
  bool has_logits_ = false;
  bool has_residual_ = false;
};

class InterventionPlanner {
 public:
  explicit InterventionPlanner(Planning& planning) : planning_(planning) {}

  absl::Status Run() {
    const v1::RunSpec& spec = planning_.spec;
    for (int i = 0; i < spec.interventions_size(); ++i) {
      HOOKWIRE_RETURN_IF_ERROR(Add(spec.interventions(i), i));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Add(const v1::Intervention& intervention, int index) {
    const FieldPath root("spec");
    const FieldPath path(root, "interventions", index);
    const FieldPath hook_path(path, "hook");
    HOOKWIRE_RETURN_IF_ERROR(planning_.keep_going());
    const std::shared_ptr<const NameMatcher::Matches> matches =
        planning_.names.Match(intervention.hook());
    if (!matches->ok()) return BlameOn(hook_path, matches->status());
    // CheckFields has refused ops without a row.
    const Op& row = *FindOp(intervention.op_case());
    const FieldPath op_path(path, OpName(row));
    PlannedIntervention planned{planning_, intervention, op_path, {}};
    HOOKWIRE_ASSIGN_OR_RETURN(planned.targets,
                              PickSequences(intervention.sequences(), planning_.n_sequences(),
                                            FieldPath(path, "sequences")));
    if (row.begin != nullptr) HOOKWIRE_RETURN_IF_ERROR(row.begin(planned));

    const v1::Value* const sent = SentValue(intervention);
    const FieldPath value_path(op_path, sent == nullptr ? "" : ValueName(row));
    std::optional<OpValue> value;
    if (sent != nullptr) {
      HOOKWIRE_ASSIGN_OR_RETURN(
          value, OpValue::Parse(*sent, planning_.spec.allow_non_finite(), value_path));
    }

    HookSlicer slicer(intervention, path);
    model::HookId last_hook = model::kNoHook;
    for (const model::NameMatch& match : **matches) {
      // The names of one hook point are adjacent, and it is changed once.
      if (match.id == last_hook) continue;
      last_hook = match.id;
      HOOKWIRE_RETURN_IF_ERROR(planning_.keep_going());
      const model::HookPoint& point = planning_.catalogue().point(match.id);
      HOOKWIRE_RETURN_IF_ERROR(CheckPoint(planned, point, hook_path));
      HOOKWIRE_RETURN_IF_ERROR(slicer.CheckAxes(point));
      HOOKWIRE_RETURN_IF_ERROR(CountTargets(planned.targets.size(), path));
      OpPlan op;
      op.hook = match.id;
      op.intervention = static_cast<uint32_t>(index);
      op.kind = row.kind;
      op.read_only = planned.read_only;
      for (const int s : planned.targets) {
        HOOKWIRE_ASSIGN_OR_RETURN(Slice slice, slicer.Make(point, s, planning_.length(s)));
        if (value) {
          HOOKWIRE_RETURN_IF_ERROR(value->CheckShape(point, slice, planning_.length(s)));
        }
        op.targets.push_back(std::move(slice));
      }
      if (value) {
        HOOKWIRE_ASSIGN_OR_RETURN(op.value,
                                  value->For(point, DtypeOf(point.dtype, planning_.model.dtype())));
        op.scalar = value->scalar();
      }
      if (row.complete != nullptr) {
        HOOKWIRE_RETURN_IF_ERROR(row.complete(planned, point, slicer, op));
      }
      planning_.plan.ops.push_back(std::move(op));
    }
    return absl::OkStatus();
  }

  // Whether the hook point can be changed, and the change can show.
  absl::Status CheckPoint(const PlannedIntervention& planned, const model::HookPoint& point,
                          const FieldPath& path) const {
    if (!point.writable && !planned.read_only) {
      const std::string& hook = planned.message.hook();
      const bool is_glob = model::Catalogue::IsGlob(hook);
      return InputError(
          v1::ERROR_REASON_HOOK_READ_ONLY, path,
          absl::StrCat(point.name, is_glob ? absl::StrCat(" (matched by ", Quote(hook), ")") : "",
                       " cannot be written: ", point.read_only_reason),
          {{"hook", point.name}, {"suggestion", point.read_only_reason}});
    }
    if (!FiresBefore(point, planning_.stop)) return BehindStop(point, *planning_.stop, path);
    return absl::OkStatus();
  }

  // Limits the work of one request.
  absl::Status CountTargets(size_t more, const FieldPath& path) {
    changed_ += more;
    const uint64_t limit = 4 * planning_.limits.max_tensors;
    if (changed_ <= limit) return absl::OkStatus();
    return InputError(v1::ERROR_REASON_TOO_MANY_TENSORS, path,
                      absl::StrCat("the interventions change more than ", limit,
                                   " tensors, more than this server does in one run"),
                      {{"tensors", absl::StrCat(changed_)}, {"limit", absl::StrCat(limit)}});
  }

  Planning& planning_;
  uint64_t changed_ = 0;
};

}  // namespace

absl::Status PlanInterventions(Planning& planning) { return InterventionPlanner(planning).Run(); }

absl::Status CheckInterventionsShow(const Planning& planning) {
  const LastWanted last_wanted(planning);
  const FieldPath root("spec");
  const std::vector<OpPlan>& ops = planning.plan.ops;
  for (size_t i = 0; i < ops.size(); ++i) {
    if (last_wanted.Shows(i)) continue;
    const FieldPath path(root, "interventions", static_cast<int>(ops[i].intervention));
    return last_wanted.Error(planning.catalogue().point(ops[i].hook), FieldPath(path, "hook"));
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
