// How far the pass runs, and the size of the result.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/plan/describe.h"
#include "server/plan/planning.h"
#include "server/plan/readable.h"

namespace hookwire::server {
namespace {

constexpr size_t kNamedContributors = 3;

// The sum, or the largest number if it overflows.
uint64_t AddBytes(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<uint64_t>::max() : sum;
}

uint64_t BytesOf(const Shape& shape, at::ScalarType dtype) {
  uint64_t bytes = c10::elementSize(dtype);
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) {
      return std::numeric_limits<uint64_t>::max();
    }
  }
  return bytes;
}

// Numbers the tensors of one group, and returns their bytes.
template <typename Group>
uint64_t Number(Group& group, uint64_t& n_tensors) {
  uint64_t total = 0;
  for (TensorPlan& tensor : group.tensors) {
    tensor.index = static_cast<uint32_t>(n_tensors++);
    tensor.bytes = BytesOf(tensor.shape, group.dtype);
    total = AddBytes(total, tensor.bytes);
  }
  return total;
}

struct Contributor {
  std::string name;
  uint64_t bytes;
};

absl::Status TooLarge(uint64_t bytes, uint64_t limit, bool own_limit,
                      std::vector<Contributor> contributors) {
  const size_t named = std::min(contributors.size(), kNamedContributors);
  std::partial_sort(contributors.begin(), contributors.begin() + static_cast<int64_t>(named),
                    contributors.end(),
                    [](const Contributor& a, const Contributor& b) { return a.bytes > b.bytes; });
  contributors.resize(named);
  const std::string largest =
      absl::StrJoin(contributors, ", ", [](std::string* out, const Contributor& one) {
        absl::StrAppend(out, one.name, " (", Readable(one.bytes), ")");
      });
  const FieldPath root("spec");
  return InputError(
      v1::ERROR_REASON_RESULT_TOO_LARGE, FieldPath(root, "max_result_bytes"),
      absl::StrCat("the result would be ", bytes, " bytes (", Readable(bytes), "), over ",
                   own_limit ? "this run's max_result_bytes" : "the server's limit", " of ", limit,
                   " (", Readable(limit), "); largest: ", largest,
                   "; ask for fewer positions, hook points or sequences"),
      {{"bytes", absl::StrCat(bytes)}, {"limit", absl::StrCat(limit)}, {"largest", largest}});
}

}  // namespace

void PlanReach(Planning& planning) {
  RunPlan& plan = planning.plan;
  for (const CapturePlan& capture : plan.captures) {
    const model::HookPoint& point = planning.catalogue().point(capture.hook);
    plan.n_layers_run = std::max(plan.n_layers_run, point.layers_needed);
    plan.finish |= point.after_blocks;
  }
  for (const OpPlan& op : plan.ops) {
    if (!op.is_shown()) continue;
    const model::HookPoint& point = planning.catalogue().point(op.hook);
    plan.n_layers_run = std::max(plan.n_layers_run, point.layers_needed);
    plan.finish |= point.after_blocks;
  }
  for (const OutputPlan& output : plan.outputs) {
    if (output.source == v1::TensorGroup::SOURCE_RESIDUAL) {
      plan.n_layers_run = *planning.stop;
    } else {
      plan.finish = true;
    }
  }
  if (plan.finish) plan.n_layers_run = planning.n_layers();
}

absl::Status PlanSize(Planning& planning) {
  RunPlan& plan = planning.plan;
  uint64_t n_tensors = 0;
  std::vector<uint64_t> group_bytes;
  for (CapturePlan& capture : plan.captures) group_bytes.push_back(Number(capture, n_tensors));
  for (OutputPlan& output : plan.outputs) group_bytes.push_back(Number(output, n_tensors));
  for (OpPlan& op : plan.ops) group_bytes.push_back(Number(op, n_tensors));
  for (const uint64_t bytes : group_bytes) plan.total_bytes = AddBytes(plan.total_bytes, bytes);

  const FieldPath root("spec");
  if (n_tensors > planning.limits.max_tensors) {
    return InputError(
        v1::ERROR_REASON_TOO_MANY_TENSORS, FieldPath(root, "captures"),
        absl::StrCat("the result would have ", n_tensors, " tensors: this server sends at most ",
                     planning.limits.max_tensors, " in one run"),
        {{"tensors", absl::StrCat(n_tensors)},
         {"limit", absl::StrCat(planning.limits.max_tensors)}});
  }
  plan.n_tensors = static_cast<uint32_t>(n_tensors);

  const uint64_t asked = planning.spec.max_result_bytes();
  const uint64_t server = planning.limits.max_result_bytes;
  const uint64_t limit = asked == 0 ? server : server == 0 ? asked : std::min(asked, server);
  if (limit == 0 || plan.total_bytes <= limit) return absl::OkStatus();

  std::vector<Contributor> contributors;
  size_t group = 0;
  const auto add = [&](std::string name) {
    contributors.push_back({std::move(name), group_bytes[group++]});
  };
  for (const CapturePlan& capture : plan.captures) {
    add(planning.catalogue().point(capture.hook).name);
  }
  for (const OutputPlan& output : plan.outputs) add(OutputName(output.source));
  for (const OpPlan& op : plan.ops) {
    add(absl::StrCat("the callback at ", planning.catalogue().point(op.hook).name));
  }
  return TooLarge(plan.total_bytes, limit, limit == asked, std::move(contributors));
}

}  // namespace hookwire::server
