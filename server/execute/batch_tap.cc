#include "server/execute/batch_tap.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "server/errors/errors.h"

namespace hookwire::server {

BatchTap::BatchTap(std::vector<Member> members, BatchContext& context)
    : members_(std::move(members)), context_(context) {
  for (const Member& member : members_) {
    for (int s = 0; s < member.n_sequences; ++s) sources_.push_back({member.tap, s});
  }
}

bool IsWithoutMemory(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted && !HasReason(status);
}

bool BatchTap::Wants(model::HookId hook) const {
  return std::any_of(members_.begin(), members_.end(),
                     [hook](const Member& member) { return member.tap->Wants(hook); });
}

bool BatchTap::Wants(model::HookId hook, int sequence) const {
  const Source& source = sources_[static_cast<size_t>(sequence)];
  return source.tap->Wants(hook, source.sequence);
}

bool BatchTap::ForEachRead(RowRead read) const {
  int first = 0;
  bool known = true;
  for (const Member& member : members_) {
    known &= member.tap->ForEachRead([&](int sequence, model::HookId hook, model::RowRange rows) {
      read(first + sequence, hook, rows);
    });
    first += member.n_sequences;
  }
  return known;
}

absl::Status BatchTap::Visit(model::HookId hook, absl::Span<const model::RowRange> rows,
                             absl::Span<at::Tensor> values) {
  size_t first = 0;
  for (const Member& member : members_) {
    const auto count = static_cast<size_t>(member.n_sequences);
    if (member.status->ok() && member.tap->Wants(hook)) {
      absl::Status memory = DoOwn(*member.status, [&] {
        return member.tap->Visit(hook, rows.subspan(first, count), values.subspan(first, count));
      });
      if (!memory.ok()) return memory;
    }
    first += count;
  }
  return EndIfEmpty();
}

absl::Status BatchTap::BetweenSteps() {
  context_.BetweenSteps();
  for (const Member& member : members_) {
    if (member.status->ok()) *member.status = member.tap->BetweenSteps();
  }
  return EndIfEmpty();
}

absl::Status BatchTap::LayerDone(int layer) {
  for (const Member& member : members_) {
    if (member.status->ok()) *member.status = member.tap->LayerDone(layer);
  }
  return EndIfEmpty();
}

bool BatchTap::any_left() const {
  return std::any_of(members_.begin(), members_.end(),
                     [](const Member& member) { return member.status->ok(); });
}

absl::Status BatchTap::EndIfEmpty() const {
  return any_left() ? absl::OkStatus() : absl::CancelledError("no run is left in the pass");
}

}  // namespace hookwire::server
