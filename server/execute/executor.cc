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
#include "server/plan/pass.h"

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

// Errors of the pass with a reason of ours.
absl::Status Explain(const absl::Status& status) {
  if (status.ok() || HasReason(status)) return status;
  const std::string what(status.message());
  return status.code() == absl::StatusCode::kResourceExhausted ? OutOfMemory(what)
                                                               : FromException(what);
}

bool IsOutOfMemory(const absl::Status& status) {
  return DetailsOf(status).reason == v1::ERROR_REASON_OUT_OF_MEMORY;
}

// The batch on its way: who is still in it.
class Batch {
 public:
  // All must outlive the batch.
  Batch(const model::TextModel& model, const Executor::Options& options,
        absl::Span<const BatchedRun> runs, BatchObserver& observer)
      : model_(model), options_(options), runs_(runs), observer_(observer) {
    for (const BatchedRun& run : runs) {
      emitters_.push_back(std::make_unique<Emitter>(*run.plan, *run.sink, &bytes_on_the_way_));
    }
  }

  // The passes of one run, one after another.
  void RunAlone(size_t run) {
    absl::Status status;
    bool first = true;
    for (const Pass& pass : SplitIntoPasses(*runs_[run].plan, options_.max_batch_tokens)) {
      if (!std::exchange(first, false)) observer_.BetweenLayers();
      const absl::Status failed =
          Try({run}, {&pass, 1}, [&](size_t, absl::Status own) { status = std::move(own); });
      if (!failed.ok()) status = failed;
      if (!status.ok()) break;
    }
    End(run, status);
  }

  // One pass of all that have not ended. Where it fails, nothing is said to those that were still
  // in it.
  absl::Status RunTogether() {
    const std::vector<size_t> numbers = Going();
    std::vector<Pass> passes;
    passes.reserve(numbers.size());
    for (const size_t run : numbers) {
      passes.push_back(
          SplitIntoPasses(*runs_[run].plan, std::numeric_limits<int64_t>::max()).front());
    }
    return Try(numbers, passes,
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

  // What runs have made so far leaves its device before more is made there.
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
      observer_.Done(run, std::move(*emitter).Finish());
    } else {
      observer_.Done(run, emitter->sink_status().ok() ? Explain(flushed) : emitter->sink_status());
    }
  }

 private:
  static std::pair<uint64_t, uint64_t> Weight(const RunPlan& plan) {
    return {plan.total_tokens, plan.total_bytes};
  }

  // One pass: of each of these runs, the sequences that its Pass names.
  absl::Status Try(const std::vector<size_t>& numbers, absl::Span<const Pass> passes,
                   absl::FunctionRef<void(size_t run, absl::Status status)> left) {
    std::vector<PassMember> members;
    for (size_t i = 0; i < numbers.size(); ++i) {
      members.push_back({runs_[numbers[i]].plan, &passes[i], emitters_[numbers[i]].get()});
      emitters_[numbers[i]]->StartPass();
    }
    const absl::Status status = model::Guarded<absl::Status>([&] {
      const c10::InferenceMode inference;
      return RunPass(model_, options_.numerics, members,
                     {[&](int member, absl::Status own) {
                        left(numbers[static_cast<size_t>(member)], std::move(own));
                      },
                      [this] { observer_.BetweenLayers(); }, [this] { observer_.BetweenSteps(); }});
    });
    return Explain(status);
  }

  const model::TextModel& model_;
  const Executor::Options& options_;
  const absl::Span<const BatchedRun> runs_;
  BatchObserver& observer_;
  // From devices, of all runs.
  uint64_t bytes_on_the_way_ = 0;
  // Null once the run has ended.
  std::vector<std::unique_ptr<Emitter>> emitters_;
};

// Keeps the one report.
class OneRun final : public BatchObserver {
 public:
  void Done(size_t, absl::StatusOr<ExecutionReport> report) override {
    this->report = std::move(report);
  }
  void BetweenLayers() override {}
  void BetweenSteps() override {}

  absl::StatusOr<ExecutionReport> report = absl::InternalError("the run did not end");
};

}  // namespace

void Executor::Execute(absl::Span<const BatchedRun> runs, BatchObserver& observer) const {
  Batch batch(model_, options_, runs, observer);
  while (batch.Going().size() > 1) {
    const absl::Status status = batch.RunTogether();
    if (status.ok()) return;
    if (!IsOutOfMemory(status)) break;
    batch.End(batch.Largest(), status);
    batch.Flush();
  }
  for (const size_t run : batch.Going()) batch.RunAlone(run);
}

absl::StatusOr<ExecutionReport> Executor::Execute(const RunPlan& plan, TensorSink& sink) const {
  const BatchedRun run{&plan, &sink};
  OneRun observer;
  Execute({&run, 1}, observer);
  return std::move(observer.report);
}

}  // namespace hookwire::server
