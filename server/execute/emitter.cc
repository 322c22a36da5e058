#include "server/execute/emitter.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/execute/non_finite.h"

namespace hookwire::server {
namespace {

// A large tensor is emitted in parts of this size, so that the reader can begin before the last
// part is copied.
constexpr int64_t kPartBytes = 4 << 20;
// The most bytes of one batch that are being copied from devices. Enough to keep the copies busy
// while a layer is computed.
constexpr uint64_t kMaxOnTheWay = 128 << 20;

absl::Status Internal(const std::string& message) {
  return MakeError(message, {v1::ERROR_REASON_INTERNAL, "", {}});
}

// Whether the tensor can be sent without a copy: it is contiguous, and its storage holds no other
// bytes.
bool IsAlone(const at::Tensor& tensor) {
  return tensor.is_contiguous() && tensor.storage().nbytes() == tensor.nbytes();
}

at::Tensor Detach(const at::Tensor& selected, at::ScalarType dtype) {
  if (selected.scalar_type() == dtype && selected.is_cpu() && IsAlone(selected)) return selected;
  at::Tensor own = at::empty(selected.sizes(), at::TensorOptions().dtype(dtype).device(at::kCPU));
  own.copy_(selected);
  return own;
}

// Copies `source` into `buffer` in `dtype`, and adds what is not finite in the copy to `found`.
at::Tensor CopyTo(uint8_t* buffer, const at::Tensor& source, at::ScalarType dtype,
                  NonFiniteElements& found) {
  at::Tensor copy = at::from_blob(buffer, source.sizes(), at::TensorOptions().dtype(dtype));
  if (source.is_cpu() && source.is_contiguous() && source.scalar_type() == dtype) {
    found += CopyAndCountNonFinite(source, buffer);
  } else {
    copy.copy_(source);
    found += CountNonFinite(copy);
  }
  return copy;
}

// Calls `give` with the rows of the tensor, kPartBytes of them (in `dtype`) at a time, and with the
// number of the first one; once if there are none.
template <typename F>
absl::Status InParts(const at::Tensor& tensor, at::ScalarType dtype, F&& give) {
  const at::Tensor rows = tensor.dim() == 0 ? tensor.unsqueeze(0) : tensor;
  const int64_t n_rows = rows.size(0);
  const int64_t row_bytes =
      static_cast<int64_t>(c10::elementSize(dtype)) * rows.numel() / std::max<int64_t>(1, n_rows);
  const int64_t step = std::max<int64_t>(1, kPartBytes / std::max<int64_t>(1, row_bytes));
  int64_t row = 0;
  do {
    HOOKWIRE_RETURN_IF_ERROR(give(rows.narrow(0, row, std::min(step, n_rows - row)), row));
    row += step;
  } while (row < n_rows);
  return absl::OkStatus();
}

}  // namespace

absl::Status Emitter::FromOutput(absl::Status status) {
  if (!status.ok()) output_status_ = status;
  return status;
}

absl::Status Emitter::GiveToOutput(uint32_t index, uint64_t offset, at::Tensor tensor,
                                   uint32_t count) {
  const auto waits = [this](bool waits) {
    waits ? context_.BeginWait(run_, BatchContext::WaitFor::kReader) : context_.EndWait(run_);
  };
  return FromOutput(count == 1 ? output_.Emit(index, offset, std::move(tensor), waits)
                               : output_.EmitTogether(index, count, std::move(tensor), waits));
}

absl::Status Emitter::Emit(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                           const at::Tensor& selected, const at::Tensor& n_masked) {
  if (selected.sizes() != at::IntArrayRef(tensor.shape)) {
    return Internal(
        absl::StrCat("tensor ", tensor.index, " (", hook, ") has another shape than planned"));
  }
  Emitted& emitted = emitted_[tensor.index];
  if (emitted.whole) {
    if (emitted.pass != pass_) return absl::OkStatus();
    return Internal(absl::StrCat("tensor ", tensor.index, " (", hook, ") was made twice"));
  }
  HOOKWIRE_RETURN_IF_ERROR(Give(tensor, dtype, hook, 0, selected, n_masked));
  emitted = {.rows = 0, .whole = true, .pass = pass_};
  ++report_.tensors;
  return absl::OkStatus();
}

absl::Status Emitter::EmitTogether(absl::Span<const TensorPlan> tensors, at::ScalarType dtype,
                                   const std::string& hook, const at::Tensor& all) {
  uint64_t bytes = 0;
  for (const TensorPlan& tensor : tensors) {
    bytes += tensor.bytes;
    if (!emitted_[tensor.index].whole) continue;
    return Internal(absl::StrCat("tensor ", tensor.index, " (", hook, ") was made twice"));
  }
  if (static_cast<uint64_t>(all.numel()) * c10::elementSize(dtype) != bytes) {
    return Internal(absl::StrCat("tensors ", tensors.front().index, " to ", tensors.back().index,
                                 " (", hook, ") have other sizes than planned"));
  }
  const uint32_t first = tensors.front().index;
  uint8_t* const buffer = output_.Buffer(first, 0, bytes);
  at::Tensor own;
  NonFiniteElements found;
  if (buffer != nullptr) {
    own = CopyTo(buffer, all, dtype, found);
  } else {
    own = Detach(all, dtype);
    found = CountNonFinite(own);
  }
  int64_t from = 0;
  for (const TensorPlan& tensor : tensors) {
    const auto n = static_cast<int64_t>(tensor.bytes / c10::elementSize(dtype));
    if (found.any()) {
      const NonFiniteElements here = CountNonFinite(own.narrow(0, from, n));
      if (here.any()) Report(static_cast<uint32_t>(tensor.slice.sequence), hook, 0, here);
    }
    from += n;
    emitted_[tensor.index] = {.rows = 0, .whole = true, .pass = pass_};
  }
  report_.tensors += tensors.size();
  report_.bytes += bytes;
  return GiveToOutput(first, 0, std::move(own), static_cast<uint32_t>(tensors.size()));
}

absl::Status Emitter::EmitRows(const TensorPlan& tensor, at::ScalarType dtype,
                               const std::string& hook, int64_t first, const at::Tensor& rows) {
  Emitted& emitted = emitted_[tensor.index];
  const int64_t end = first + rows.size(0);
  if (emitted.pass != pass_ && first < emitted.rows) {
    // An earlier pass has emitted the first of these rows.
    const int64_t given = std::min(emitted.rows - first, rows.size(0));
    if (given == rows.size(0)) return absl::OkStatus();
    return EmitRows(tensor, dtype, hook, first + given,
                    rows.narrow(0, given, rows.size(0) - given));
  }
  if (emitted.whole || first != emitted.rows || end > tensor.shape.front() ||
      rows.sizes().slice(1) != at::IntArrayRef(tensor.shape).slice(1)) {
    return Internal(absl::StrCat("rows ", first, " to ", end, " of tensor ", tensor.index, " (",
                                 hook, ") are not those that come next"));
  }
  HOOKWIRE_RETURN_IF_ERROR(Give(tensor, dtype, hook, first, rows, {}));
  emitted = {.rows = end, .whole = end == tensor.shape.front(), .pass = pass_};
  if (emitted.whole) ++report_.tensors;
  return absl::OkStatus();
}

absl::Status Emitter::Give(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                           int64_t first, const at::Tensor& selected, const at::Tensor& n_masked) {
  const uint64_t bytes = static_cast<uint64_t>(selected.numel()) * c10::elementSize(dtype);
  const uint64_t offset =
      first == 0 ? 0
                 : static_cast<uint64_t>(first) * (bytes / static_cast<uint64_t>(selected.size(0)));
  if (!selected.is_cpu()) {
    HOOKWIRE_RETURN_IF_ERROR(
        Send(tensor, hook, first, offset, selected.to(dtype).contiguous(), n_masked));
    report_.bytes += bytes;
    return absl::OkStatus();
  }
  NonFiniteElements found;
  absl::Status given;
  uint8_t* const buffer = bytes == 0 ? nullptr : output_.Buffer(tensor.index, offset, bytes);
  if (buffer != nullptr) {
    given = GiveIn(buffer, tensor, dtype, offset, selected, found);
  } else {
    at::Tensor own = Detach(selected, dtype);
    found = CountNonFinite(own);
    given = GiveToOutput(tensor.index, offset, std::move(own));
  }
  report_.bytes += bytes;
  if (n_masked.defined()) {
    found.inf -= std::min(found.inf, static_cast<uint64_t>(n_masked.item<int64_t>()));
  }
  if (found.any()) {
    Report(static_cast<uint32_t>(tensor.slice.sequence), hook, first, found);
  }
  return given;
}

absl::Status Emitter::GiveIn(uint8_t* buffer, const TensorPlan& tensor, at::ScalarType dtype,
                             uint64_t offset, const at::Tensor& selected,
                             NonFiniteElements& found) {
  return InParts(selected, dtype, [&](const at::Tensor& source, int64_t) {
    at::Tensor part = CopyTo(buffer, source, dtype, found);
    const uint64_t bytes = part.nbytes();
    absl::Status given = GiveToOutput(tensor.index, offset, std::move(part));
    buffer += bytes;
    offset += bytes;
    return given;
  });
}

absl::Status Emitter::Send(const TensorPlan& tensor, const std::string& hook, int64_t first,
                           uint64_t offset, const at::Tensor& selected,
                           const at::Tensor& n_masked) {
  std::optional<DeviceCopy> counts;
  if (selected.is_floating_point()) counts.emplace(CountNonFiniteThere(selected, n_masked));
  return InParts(selected, selected.scalar_type(), [&](const at::Tensor& part, int64_t row) {
    absl::Status delivered = Deliver(kMaxOnTheWay);
    if (!delivered.ok()) return delivered;
    on_the_way_.push_back({.tensor = tensor.index,
                           .sequence = static_cast<uint32_t>(tensor.slice.sequence),
                           .hook = hook,
                           .first = first + row,
                           .offset = offset,
                           .bytes = part.nbytes(),
                           .rows = DeviceCopy(part),
                           .counts = std::exchange(counts, std::nullopt)});
    bytes_on_the_way_ += part.nbytes();
    offset += part.nbytes();
    return absl::OkStatus();
  });
}

absl::Status Emitter::Deliver(uint64_t in_all) {
  while (!on_the_way_.empty() &&
         (in_all == 0 || bytes_on_the_way_ > in_all || on_the_way_.front().rows.HasArrived())) {
    HOOKWIRE_RETURN_IF_ERROR(DeliverFirst());
  }
  return absl::OkStatus();
}

absl::Status Emitter::DeliverFirst() {
  OnTheWay rows = std::move(on_the_way_.front());
  on_the_way_.pop_front();
  bytes_on_the_way_ -= rows.bytes;
  if (rows.counts.has_value()) {
    const at::Tensor counts = rows.counts->Take();
    const auto* const numbers = counts.const_data_ptr<int64_t>();
    const NonFiniteElements found = {static_cast<uint64_t>(numbers[0]),
                                     static_cast<uint64_t>(numbers[1])};
    if (found.any()) Report(rows.sequence, rows.hook, rows.first, found);
  }
  at::Tensor own = rows.rows.Take();
  uint8_t* const buffer =
      rows.bytes == 0 ? nullptr : output_.Buffer(rows.tensor, rows.offset, rows.bytes);
  if (buffer != nullptr) {
    own = at::from_blob(buffer, own.sizes(), own.options().pinned_memory(false)).copy_(own);
  }
  return GiveToOutput(rows.tensor, rows.offset, std::move(own));
}

absl::Status Emitter::Progress(int layers_done) {
  HOOKWIRE_RETURN_IF_ERROR(Deliver(kMaxOnTheWay));
  HOOKWIRE_RETURN_IF_ERROR(CheckWanted());
  return FromOutput(output_.Progress(layers_done));
}

absl::Status Emitter::CheckWanted() {
  HOOKWIRE_RETURN_IF_ERROR(FromOutput(context_.CheckTime(run_)));
  return FromOutput(output_.status());
}

absl::StatusOr<std::vector<at::Tensor>> Emitter::AwaitAnswer(const OpPlan& op) {
  HOOKWIRE_RETURN_IF_ERROR(Flush());
  context_.BeginWait(run_, BatchContext::WaitFor::kAnswer);
  absl::StatusOr<std::vector<at::Tensor>> answers =
      output_.AwaitAnswer(op, [&] { return context_.KeepWaiting(run_, op); });
  context_.EndWait(run_);
  if (!answers.ok()) return FromOutput(answers.status());
  return answers;
}

void Emitter::Report(uint32_t sequence, const std::string& hook, int64_t first,
                     const NonFiniteElements& found) {
  std::vector<NonFiniteCount>& counts = report_.non_finite;
  // More rows of the tensor that was reported last.
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
