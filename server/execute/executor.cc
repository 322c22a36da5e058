#include "server/execute/executor.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/guard.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/execute/batch_pass.h"
#include "server/execute/emitter.h"
#include "server/plan/sequence_groups.h"

namespace hookwire::server {
namespace {

absl::Status OutOfMemory(const std::string& what) {
  return MakeError(absl::StrCat("the run ran out of memory: ask for fewer sequences, positions or "
                                "hook points (",
                                Shorten(what, 300), ")"),
                   {v1::ERROR_REASON_OUT_OF_MEMORY, "", {}});
}

absl::Status FromException(const std::string& what) {
  return MakeError(absl::StrCat("the forward pass failed: ", Shorten(what, 300)),
                   {v1::ERROR_REASON_INTERNAL, "", {}});
}

// The error of a pass, with a reason for the client.
absl::Status Explain(const absl::Status& status) {
  if (status.ok() || HasReason(status)) return status;
  const std::string what(status.message());
  return status.code() == absl::StatusCode::kResourceExhausted ? OutOfMemory(what)
                                                               : FromException(what);
}

bool IsOutOfMemory(const absl::Status& status) {
  return DetailsOf(status).reason == v1::ERROR_REASON_OUT_OF_MEMORY;
}

// A batch that is being executed, and which of its runs have not ended.
class Batch {
 public:
  // All must outlive the batch.
  Batch(const model::TextModel& model, const Executor::Options& options,
        absl::Span<const BatchedRun> runs, BatchContext& context)
      : model_(model), options_(options), runs_(runs), context_(context) {
    for (const BatchedRun& run : runs) {
      emitters_.push_back(std::make_unique<Emitter>(*run.plan, *run.output, context,
                                                    emitters_.size(), &bytes_on_the_way_));
    }
  }

  // The passes of one run, one after another.
  void RunAlone(size_t run) {
    context_.Begin({&run, 1});
    absl::Status status;
    bool first = true;
    for (const SequenceGroup& group : GroupSequences(*runs_[run].plan, options_.max_batch_tokens)) {
      if (!std::exchange(first, false)) {
        context_.BetweenLayers();
        status = emitters_[run]->CheckWanted();
        if (!status.ok()) break;
      }
      const absl::Status failed =
          Try({run}, {&group, 1}, [&](size_t, absl::Status own) { status = std::move(own); });
      if (!failed.ok()) status = failed;
      if (!status.ok()) break;
    }
    End(run, status);
  }

  // One pass of all runs that have not ended. Where it fails, the runs that were still in it have
  // not ended either.
  absl::Status RunTogether() {
    const std::vector<size_t> numbers = Going();
    context_.Begin(numbers);
    std::vector<SequenceGroup> groups;
    groups.reserve(numbers.size());
    for (const size_t run : numbers) {
      groups.push_back(
          GroupSequences(*runs_[run].plan, std::numeric_limits<int64_t>::max()).front());
    }
    return Try(numbers, groups,
               [this](size_t run, const absl::Status& status) { End(run, status); });
  }

  // Numbers of the runs that have not ended.
  std::vector<size_t> Going() const {
    std::vector<size_t> going;
    for (size_t i = 0; i < emitters_.size(); ++i) {
      if (emitters_[i] != nullptr) going.push_back(i);
    }
    return going;
  }

  // The run that needs the most memory among those that have not ended.
  size_t Largest() const {
    const std::vector<size_t> going = Going();
    return *std::max_element(going.begin(), going.end(), [this](size_t a, size_t b) {
      return Weight(*runs_[a].plan) < Weight(*runs_[b].plan);
    });
  }

  // Waits until what the runs have emitted has left its device, so that its memory there is free.
  void Flush() {
    for (const size_t run : Going()) {
      const absl::Status status =
          model::Guarded<absl::Status>([&] { return emitters_[run]->Flush(); });
      if (!status.ok()) End(run, status);
    }
  }

  void End(size_t run, const absl::Status& status) {
    const std::unique_ptr<Emitter> emitter = std::move(emitters_[run]);
    const absl::Status flushed =
        status.ok() ? model::Guarded<absl::Status>([&] { return emitter->Flush(); }) : status;
    if (flushed.ok()) {
      context_.Done(run, std::move(*emitter).Finish());
    } else {
      context_.Done(run,
                    emitter->output_status().ok() ? Explain(flushed) : emitter->output_status());
    }
  }

 private:
  static std::pair<uint64_t, uint64_t> Weight(const RunPlan& plan) {
    return {plan.total_tokens, plan.total_bytes};
  }

  // One pass: of each of these runs, the sequences of its group.
  absl::Status Try(const std::vector<size_t>& numbers, absl::Span<const SequenceGroup> groups,
                   absl::FunctionRef<void(size_t run, absl::Status status)> left) {
    std::vector<PassMember> members;
    for (size_t i = 0; i < numbers.size(); ++i) {
      members.push_back(
          {numbers[i], runs_[numbers[i]].plan, &groups[i], emitters_[numbers[i]].get()});
      emitters_[numbers[i]]->StartPass();
    }
    const absl::Status status = model::Guarded<absl::Status>([&] {
      const c10::InferenceMode inference;
      return RunPass(model_, options_.numerics, members, context_, left);
    });
    return Explain(status);
  }

  const model::TextModel& model_;
  const Executor::Options& options_;
  const absl::Span<const BatchedRun> runs_;
  BatchContext& context_;
  // Bytes that are being copied from devices, for all runs.
  uint64_t bytes_on_the_way_ = 0;
  // Null once the run has ended.
  std::vector<std::unique_ptr<Emitter>> emitters_;
};

// For a single run: keeps its report.
class OneRun final : public BatchContext {
 public:
  void Done(size_t, absl::StatusOr<ExecutionReport> report) override {
    this->report = std::move(report);
  }

  absl::StatusOr<ExecutionReport> report = absl::InternalError("the run did not end");
};

}  // namespace

void Executor::Execute(absl::Span<const BatchedRun> runs, BatchContext& context) const {
  Batch batch(model_, options_, runs, context);
  while (batch.Going().size() > 1) {
    const absl::Status status = batch.RunTogether();
    if (status.ok()) return;
    if (!IsOutOfMemory(status)) break;
    batch.End(batch.Largest(), status);
    batch.Flush();
  }
  for (const size_t run : batch.Going()) batch.RunAlone(run);
}

absl::StatusOr<ExecutionReport> Executor::Execute(const RunPlan& plan, RunOutput& output) const {
  const BatchedRun run{&plan, &output};
  OneRun context;
  Execute({&run, 1}, context);
  return std::move(context.report);
}

}  // namespace hookwire::server
