#include "server/execute/apply.h"

#include <ATen/ScalarOps.h>
#include <c10/core/Scalar.h>

#include <cstddef>

#include "server/execute/slices.h"

namespace hookwire::server {
namespace {

// A number is used as PyTorch uses Python's numbers: `tensor * 0.1` in bfloat16 multiplies by 0.1,
// not by 0.1 rounded to bfloat16.
void ChangeByNumber(OpKind kind, double number, at::Tensor& part) {
  switch (kind) {
    case OpKind::kSet:
      part.fill_(number);
      return;
    case OpKind::kAdd:
      part.add_(at::Scalar(number));
      return;
    case OpKind::kScale:
      // Not mul_(Scalar), which rounds the number to the tensor's dtype.
      part.mul_(at::native::wrapped_scalar_tensor(number));
      return;
    case OpKind::kZero:
    case OpKind::kCopy:
    case OpKind::kCallback:
      return;
  }
}

void ChangeByTensor(OpKind kind, const at::Tensor& value, at::Tensor& part) {
  switch (kind) {
    case OpKind::kSet:
    case OpKind::kCopy:
      part.copy_(value);
      return;
    case OpKind::kAdd:
      part.add_(value);
      return;
    case OpKind::kScale:
      part.mul_(value);
      return;
    case OpKind::kZero:
    case OpKind::kCallback:
      return;
  }
}

}  // namespace

void ApplyOp(const OpPlan& op, const SequenceGroup& group, absl::Span<const at::Tensor> values) {
  const auto at = [&](const Slice& slice) -> const at::Tensor& {
    return values[static_cast<size_t>(group.index(slice))];
  };
  // The plan has the value in the hook point's dtype; the pass computes some in a wider one.
  at::Tensor value;
  for (size_t i = 0; i < op.targets.size(); ++i) {
    const Slice& target = op.targets[i];
    if (!group.Has(target)) continue;
    if (op.value.defined() && !value.defined()) value = op.value.to(at(target).options());
    ChangeSlice(at(target), target.picks, [&](at::Tensor& part) {
      if (op.kind == OpKind::kZero) {
        part.zero_();
      } else if (op.kind == OpKind::kCopy) {
        const Slice& source = op.sources[i];
        ChangeByTensor(op.kind, ReadSlice(at(source), source.picks), part);
      } else if (op.scalar.has_value()) {
        ChangeByNumber(op.kind, *op.scalar, part);
      } else {
        ChangeByTensor(op.kind, value, part);
      }
    });
  }
}

}  // namespace hookwire::server
