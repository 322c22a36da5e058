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
  if (emitted_[tensor.index]) {
    return Internal(absl::StrCat("tensor ", tensor.index, " (", hook, ") was made twice"));
  }
  emitted_[tensor.index] = true;

  at::Tensor own = Detach(selected, dtype);
  NonFiniteElements non_finite = CountNonFinite(own);
  non_finite.inf -= std::min(non_finite.inf, masked);
  if (non_finite.any()) {
    report_.non_finite.push_back(
        {hook, static_cast<uint32_t>(tensor.slice.sequence), non_finite.nan, non_finite.inf});
  }
  report_.bytes += tensor.bytes;
  ++report_.tensors;
  return FromSink(sink_.Emit(tensor.index, std::move(own)));
}

absl::StatusOr<ExecutionReport> Emitter::Finish() && {
  const auto missing = std::find(emitted_.begin(), emitted_.end(), false);
  if (missing != emitted_.end()) {
    return Internal(absl::StrCat("tensor ", missing - emitted_.begin(),
                                 " of the plan was not made: its hook point did not fire"));
  }
  return std::move(report_);
}

}  // namespace hookwire::server
