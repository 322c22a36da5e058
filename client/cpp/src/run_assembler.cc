#include "client/cpp/src/run_assembler.h"

#include <new>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hookwire::client {
namespace {

// nullopt if the size overflows.
std::optional<uint64_t> BytesOf(const v1::PlannedTensor& tensor, uint64_t element_size) {
  uint64_t bytes = element_size;
  for (const uint64_t size : tensor.shape()) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

}  // namespace

absl::Status RunAssembler::Accept(const v1::Accepted& accepted) {
  if (plan_) return absl::DataLossError("the server accepted the run twice");
  plan_ = std::make_shared<const v1::Plan>(accepted.plan());
  if (absl::Status status = MakeSlots(); !status.ok()) return status;
  return options_.on_accepted ? options_.on_accepted(accepted) : absl::OkStatus();
}

absl::Status RunAssembler::MakeSlots() {
  uint64_t total = 0;
  for (int g = 0; g < plan_->groups_size(); ++g) {
    const v1::TensorGroup& group = plan_->groups(g);
    const uint64_t element_size = ElementSize(group.dtype());
    if (element_size == 0) {
      return absl::UnimplementedError(absl::StrCat("the server sends dtype number ",
                                                   static_cast<int>(group.dtype()),
                                                   ", which this client does not know"));
    }
    for (int t = 0; t < group.tensors_size(); ++t) {
      const std::optional<uint64_t> bytes = BytesOf(group.tensors(t), element_size);
      if (!bytes || __builtin_add_overflow(total, *bytes, &total)) {
        return absl::DataLossError("the plan's sizes overflow");
      }
      slots_.push_back({.group = g, .entry = t, .bytes = *bytes});
    }
  }
  if (total != plan_->total_bytes()) {
    return absl::DataLossError(absl::StrCat("the plan says ", plan_->total_bytes(),
                                            " bytes, but its tensors have ", total));
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<std::byte>> RunAssembler::Place(uint32_t tensor, uint64_t offset,
                                                          uint64_t size) {
  if (!plan_) return absl::DataLossError("a tensor came before the run was accepted");
  if (tensor >= slots_.size()) {
    return absl::DataLossError(
        absl::StrCat("tensor ", tensor, " came, but the plan has ", slots_.size()));
  }
  Slot& slot = slots_[tensor];
  if (offset != slot.received || slot.delivered || size > slot.bytes - slot.received) {
    return absl::DataLossError(absl::StrCat("bytes ", offset, " to ", offset + size, " of tensor ",
                                            tensor, " came after ", slot.received, " of ",
                                            slot.bytes));
  }
  if (!slot.data && slot.bytes > 0) {
    slot.data.reset(new (std::nothrow) std::byte[slot.bytes]);
    if (!slot.data) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for tensor ", tensor, " of ", slot.bytes, " bytes"));
    }
  }
  slot.received += size;
  return absl::MakeSpan(slot.data.get() + offset, size);
}

absl::Status RunAssembler::Filled(uint32_t tensor) {
  const Slot& slot = slots_[tensor];
  return slot.received == slot.bytes ? Deliver(tensor) : absl::OkStatus();
}

absl::Status RunAssembler::Deliver(uint32_t tensor) {
  Slot& slot = slots_[tensor];
  slot.delivered = true;
  ++delivered_;
  return on_tensor_(
      Tensor(plan_, tensor, slot.group, slot.entry, std::move(slot.data), slot.bytes));
}

absl::Status RunAssembler::Progress(const v1::Progress& progress) {
  return options_.on_progress ? options_.on_progress(progress.layers_done()) : absl::OkStatus();
}

absl::Status RunAssembler::Finish(v1::Receipt receipt) {
  if (!plan_) return absl::DataLossError("a receipt came before the run was accepted");
  if (receipt_) return absl::DataLossError("two receipts came");
  for (uint32_t tensor = 0; tensor < slots_.size(); ++tensor) {
    const Slot& slot = slots_[tensor];
    if (slot.received != slot.bytes) {
      return absl::DataLossError(absl::StrCat("the run ended with ", slot.received, " of ",
                                              slot.bytes, " bytes of tensor ", tensor));
    }
    // A tensor of no elements needs no chunk.
    if (slot.delivered) continue;
    if (absl::Status status = Deliver(tensor); !status.ok()) return status;
  }
  if (receipt.tensors() != slots_.size() || receipt.bytes() != plan_->total_bytes()) {
    return absl::DataLossError(absl::StrCat("the receipt says ", receipt.tensors(), " tensors of ",
                                            receipt.bytes(), " bytes, the plan ", slots_.size(),
                                            " of ", plan_->total_bytes()));
  }
  receipt_ = std::move(receipt);
  return absl::OkStatus();
}

absl::StatusOr<v1::Receipt> RunAssembler::Result() && {
  if (!receipt_) {
    return absl::DataLossError(absl::StrCat("the stream ended without a receipt, after ",
                                            delivered_, " of ", slots_.size(), " tensors"));
  }
  return *std::move(receipt_);
}

}  // namespace hookwire::client
