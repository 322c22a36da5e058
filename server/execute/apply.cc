#include "server/execute/apply.h"

#include <ATen/ScalarOps.h>
#include <c10/core/Scalar.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "server/execute/slices.h"
#include "server/plan/ops.h"

namespace hookwire::server {
namespace {

// What a selection is changed by: a number or a tensor that broadcasts to it; neither for an op
// that takes none. A number is used as PyTorch uses Python's numbers: `tensor * 0.1` in bfloat16
// multiplies by 0.1, not by 0.1 rounded to bfloat16.
struct Operand {
  std::optional<double> number;
  at::Tensor tensor;
};

void Set(const Operand& by, at::Tensor& part) {
  if (by.number.has_value()) {
    part.fill_(*by.number);
  } else {
    part.copy_(by.tensor);
  }
}

void Add(const Operand& by, at::Tensor& part) {
  if (by.number.has_value()) {
    part.add_(at::Scalar(*by.number));
  } else {
    part.add_(by.tensor);
  }
}

void Scale(const Operand& by, at::Tensor& part) {
  if (by.number.has_value()) {
    // Not mul_(Scalar), which rounds the number to the tensor's dtype.
    part.mul_(at::native::wrapped_scalar_tensor(*by.number));
  } else {
    part.mul_(by.tensor);
  }
}

void Zero(const Operand& /*by*/, at::Tensor& part) { part.zero_(); }

using Change = void (*)(const Operand& by, at::Tensor& part);

// How an op changes a selection in place.
struct OpChange {
  OpKind kind;
  Change change;
};

constexpr std::array kChanges = {
    OpChange{OpKind::kSet, Set},
    OpChange{OpKind::kAdd, Add},
    OpChange{OpKind::kScale, Scale},
    OpChange{OpKind::kZero, Zero},
    // To the slice of the source.
    OpChange{OpKind::kCopy, Set},
    // To the client's answer.
    OpChange{OpKind::kCallback, Set},
};

constexpr Change ChangeOf(OpKind kind) {
  for (const OpChange& row : kChanges) {
    if (row.kind == kind) return row.change;
  }
  return nullptr;
}

static_assert(std::all_of(kOps.begin(), kOps.end(),
                          [](const Op& op) { return ChangeOf(op.kind) != nullptr; }),
              "an op that is planned has no row here");

}  // namespace

void ApplyOp(const OpPlan& op, const SequenceGroup& group, absl::Span<const at::Tensor> answers,
             absl::Span<const at::Tensor> values) {
  const auto at = [&](const Slice& slice) -> const at::Tensor& {
    return values[static_cast<size_t>(group.index(slice))];
  };
  const Change change = ChangeOf(op.kind);
  Operand by = {op.scalar, {}};
  for (size_t i = 0; i < op.targets.size(); ++i) {
    const Slice& target = op.targets[i];
    if (!group.Has(target)) continue;
    if (op.is_shown()) {
      if (!answers[i].defined()) continue;
      by.tensor = answers[i];
    } else if (!op.sources.empty()) {
      by.tensor = ReadSlice(at(op.sources[i]), op.sources[i].picks);
    } else if (op.value.defined() && !by.tensor.defined()) {
      // The plan has the value in the hook point's dtype; the pass computes some in a wider one.
      by.tensor = op.value.to(at(target).options());
    }
    ChangeSlice(at(target), target.picks, [&](at::Tensor& part) { change(by, part); });
  }
}

}  // namespace hookwire::server
