#include "server/execute/emitter.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/execute/non_finite.h"

namespace hookwire::server {
namespace {

absl::Status Internal(const std::string& message) {
  return MakeError(message, {v1::ERROR_REASON_INTERNAL, "", {}});
}

// Whether the tensor can be kept as it is: its bytes lie in order, and its storage holds no others.
bool IsAlone(const at::Tensor& tensor) {
  return tensor.is_contiguous() && tensor.storage().nbytes() == tensor.nbytes();
}

at::Tensor Detach(const at::Tensor& selected, at::ScalarType dtype) {
  if (selected.scalar_type() == dtype && selected.is_cpu() && IsAlone(selected)) return selected;
  at::Tensor own = at::empty(selected.sizes(), at::TensorOptions().dtype(dtype).device(at::kCPU));
  own.copy_(selected);
  return own;
}

}  // namespace

absl::Status Emitter::FromSink(absl::Status status) {
  if (!status.ok()) sink_status_ = status;
  return status;
}

absl::Status Emitter::Emit(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                           const at::Tensor& selected, uint64_t masked) {
  if (selected.sizes() != at::IntArrayRef(tensor.shape)) {
    return Internal(
        absl::StrCat("tensor ", tensor.index, " (", hook, ") has another shape than planned"));
  }
  if (std::exchange(emitted_[tensor.index].whole, true)) {
    return Internal(absl::StrCat("tensor ", tensor.index, " (", hook, ") was made twice"));
  }
  return Give(tensor, dtype, hook, 0, selected, masked);
}

absl::Status Emitter::EmitRows(const TensorPlan& tensor, at::ScalarType dtype,
                               const std::string& hook, int64_t first, const at::Tensor& rows) {
  Emitted& emitted = emitted_[tensor.index];
  const int64_t end = first + rows.size(0);
  if (emitted.whole || first != emitted.rows || end > tensor.shape.front() ||
      rows.sizes().slice(1) != at::IntArrayRef(tensor.shape).slice(1)) {
    return Internal(absl::StrCat("rows ", first, " to ", end, " of tensor ", tensor.index, " (",
                                 hook, ") are not those that come next"));
  }
  emitted.rows = end;
  emitted.whole = end == tensor.shape.front();
  return Give(tensor, dtype, hook, first, rows, 0);
}

absl::Status Emitter::Give(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                           int64_t first, const at::Tensor& selected, uint64_t masked) {
  at::Tensor own = Detach(selected, dtype);
  NonFiniteElements non_finite = CountNonFinite(own);
  non_finite.inf -= std::min(non_finite.inf, masked);
  if (non_finite.any()) Report(tensor, hook, first, non_finite);
  report_.bytes += own.nbytes();
  if (emitted_[tensor.index].whole) ++report_.tensors;
  const uint64_t offset = first == 0 ? 0 : static_cast<uint64_t>(first) * own[0].nbytes();
  return FromSink(sink_.Emit(tensor.index, offset, std::move(own)));
}

void Emitter::Report(const TensorPlan& tensor, const std::string& hook, int64_t first,
                     const NonFiniteElements& found) {
  const auto sequence = static_cast<uint32_t>(tensor.slice.sequence);
  std::vector<NonFiniteCount>& counts = report_.non_finite;
  // Another piece of the tensor that was reported last.
  if (first > 0 && !counts.empty() && counts.back().hook == hook &&
      counts.back().sequence == sequence) {
    counts.back().nan += found.nan;
    counts.back().inf += found.inf;
    return;
  }
  counts.push_back({hook, sequence, found.nan, found.inf});
}

absl::StatusOr<ExecutionReport> Emitter::Finish() && {
  const auto missing = std::find_if(emitted_.begin(), emitted_.end(),
                                    [](const Emitted& emitted) { return !emitted.whole; });
  if (missing != emitted_.end()) {
    return Internal(absl::StrCat("tensor ", missing - emitted_.begin(),
                                 " of the plan was not made: its hook point did not fire"));
  }
  return std::move(report_);
}

}  // namespace hookwire::server
