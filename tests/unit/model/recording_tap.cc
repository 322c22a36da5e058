#include "tests/unit/model/recording_tap.h"

#include <ATen/ops/cat.h>

#include <cstring>
#include <numeric>
#include <stdexcept>

namespace hookwire::testing {
namespace {

model::HookId IdOf(const model::Catalogue& catalogue, const std::string& name) {
  const auto id = catalogue.Find(name);
  if (!id.ok()) throw std::runtime_error(id.status().ToString());
  return *id;
}

}  // namespace

bool SameBits(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

RecordingTap& RecordingTap::Read(const std::string& name, std::set<int> sequences) {
  wanted_[IdOf(catalogue_, name)] = std::move(sequences);
  return *this;
}

RecordingTap& RecordingTap::ReadEverything() {
  for (const model::HookPoint& point : catalogue_.points()) wanted_[point.id] = {};
  return *this;
}

RecordingTap& RecordingTap::WriteAt(const std::string& name, Write write, std::set<int> sequences) {
  const model::HookId id = IdOf(catalogue_, name);
  if (!catalogue_.point(id).writable) throw std::runtime_error(name + " is read-only");
  if (wanted_.count(id) == 0) wanted_[id] = sequences;
  writes_[id].push_back({std::move(write), std::move(sequences)});
  return *this;
}

RecordingTap& RecordingTap::FailAt(const std::string& name, absl::Status status) {
  const model::HookId id = IdOf(catalogue_, name);
  wanted_[id] = {};
  failures_[id] = std::move(status);
  return *this;
}

RecordingTap& RecordingTap::FailAfter(int layer, absl::Status status) {
  layer_failures_[layer] = std::move(status);
  return *this;
}

RecordingTap& RecordingTap::FailBeforeStep(int step, absl::Status status) {
  step_failures_[step] = std::move(status);
  return *this;
}

RecordingTap& RecordingTap::Need(const std::string& name, int sequence, model::RowRange rows) {
  needs_.push_back({sequence, IdOf(catalogue_, name), rows});
  return *this;
}

bool RecordingTap::ForEachRead(RowRead read) const {
  for (const NeedRule& need : needs_) read(need.sequence, need.hook, need.rows);
  return !needs_.empty();
}

bool RecordingTap::Wants(model::HookId hook, int sequence) const {
  const auto it = wanted_.find(hook);
  return it != wanted_.end() && (it->second.empty() || it->second.count(sequence) > 0);
}

absl::Status RecordingTap::Visit(model::HookId hook, absl::Span<const model::RowRange> rows,
                                 absl::Span<at::Tensor> values) {
  visited_.push_back(hook);
  rows_[hook].assign(rows.begin(), rows.end());
  for (const at::Tensor& value : values) {
    if (value.defined()) shown_.emplace_back(value, value.clone());
  }
  if (const auto it = failures_.find(hook); it != failures_.end()) return it->second;
  if (const auto it = writes_.find(hook); it != writes_.end()) {
    for (const WriteRule& rule : it->second) {
      for (size_t s = 0; s < values.size(); ++s) {
        if (!values[s].defined()) continue;
        if (rule.sequences.empty() || rule.sequences.count(static_cast<int>(s)) > 0) {
          values[s] = rule.write(values[s]);
        }
      }
    }
  }
  std::vector<at::Tensor>& copies = seen_[hook];
  copies.clear();
  for (const at::Tensor& value : values) {
    copies.push_back(value.defined() ? value.clone() : at::Tensor());
  }
  return absl::OkStatus();
}

absl::Status RecordingTap::BetweenSteps() {
  const auto it = step_failures_.find(steps_++);
  return it == step_failures_.end() ? absl::OkStatus() : it->second;
}

absl::Status RecordingTap::LayerDone(int layer) {
  layers_done_.push_back(layer);
  const auto it = layer_failures_.find(layer);
  return it == layer_failures_.end() ? absl::OkStatus() : it->second;
}

const at::Tensor& RecordingTap::Seen(const std::string& name, int sequence) const {
  const auto it = seen_.find(IdOf(catalogue_, name));
  if (it == seen_.end()) throw std::runtime_error(name + " was not visited");
  return it->second.at(static_cast<size_t>(sequence));
}

model::RowRange RecordingTap::RowsOf(const std::string& name, int sequence) const {
  return rows_.at(IdOf(catalogue_, name)).at(static_cast<size_t>(sequence));
}

absl::StatusOr<std::vector<at::Tensor>> TryPass(const model::TextModel& model,
                                                const Sequences& sequences,
                                                model::Numerics numerics, model::Tap& tap) {
  auto state = model.Begin(sequences, numerics, tap);
  if (!state.ok()) return state.status();
  if (absl::Status status = model.RunLayers(*state, model.config().n_layers(), tap); !status.ok()) {
    return status;
  }
  return FinishAll(model, *state, AllRows(sequences), tap);
}

absl::StatusOr<std::vector<at::Tensor>> FinishAll(const model::TextModel& model,
                                                  model::PassState& state, const Sequences& rows,
                                                  model::Tap& tap) {
  std::vector<std::vector<at::Tensor>> blocks(rows.size());
  int last = 0;
  const absl::Status status =
      model.Finish(state, rows, tap, [&](int s, int64_t first, const at::Tensor& logits) {
        int64_t next = 0;
        for (const at::Tensor& block : blocks[static_cast<size_t>(s)]) next += block.size(0);
        if (s < last || first != next) return absl::InternalError("logits came out of order");
        last = s;
        blocks[static_cast<size_t>(s)].push_back(logits.clone());
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  std::vector<at::Tensor> all(rows.size());
  for (size_t s = 0; s < rows.size(); ++s) {
    if (!blocks[s].empty()) all[s] = at::cat(blocks[s], 0);
  }
  return all;
}

std::vector<at::Tensor> Pass(const model::TextModel& model, const Sequences& sequences,
                             model::Numerics numerics, model::Tap& tap) {
  auto logits = TryPass(model, sequences, numerics, tap);
  if (!logits.ok()) throw std::runtime_error(logits.status().ToString());
  return *std::move(logits);
}

std::vector<at::Tensor> Pass(const model::TextModel& model, const Sequences& sequences,
                             model::Numerics numerics) {
  RecordingTap nobody(model.catalogue());
  return Pass(model, sequences, numerics, nobody);
}

std::vector<std::vector<int64_t>> AllRows(const Sequences& sequences) {
  std::vector<std::vector<int64_t>> rows;
  for (const std::vector<int64_t>& sequence : sequences) {
    rows.emplace_back(sequence.size());
    std::iota(rows.back().begin(), rows.back().end(), int64_t{0});
  }
  return rows;
}

}  // namespace hookwire::testing
