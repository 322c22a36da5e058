#include "server/schedule/running_batch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

// A batch that is executed in the middle of another is at least so many times smaller than what one
// client has in that.
constexpr uint64_t kTimesSmaller = 8;

}  // namespace

RunningBatch::RunningBatch(const Host& host, std::vector<WaitingRun> runs, bool lets_others_by)
    : host_(host),
      lets_others_by_(lets_others_by),
      runs_(std::move(runs)),
      shares_(host.small_tokens),
      executions_(runs_.size()) {
  for (const WaitingRun& waiting : runs_) {
    tokens_ += waiting.run->plan->total_tokens;
    shares_.Add(waiting.run->client, waiting.run->plan->total_tokens);
  }
}

void RunningBatch::Execute() {
  started_ = host_.clock.Now();
  now_ = started_;
  std::vector<BatchedRun> batch;
  std::vector<size_t> all;
  for (const WaitingRun& waiting : runs_) {
    all.push_back(batch.size());
    batch.push_back({waiting.run->plan.get(), waiting.run->output.get()});
  }
  Begin(all);
  for (Execution& execution : executions_) execution.count = 0;
  host_.execute(batch, *this);
}

bool RunningBatch::LetsBy(const QueuedRun& run, uint64_t tokens) const {
  if (tokens > shares_.most() / kTimesSmaller || shares_.Has(run.client)) return false;
  const auto had = lost_to_.find(run.client);
  return had == lost_to_.end() || had->second <= host_.clock.Now() - started_ - lost_;
}

void RunningBatch::CountTimeOf(const RunningBatch& other) {
  const absl::Duration took = host_.clock.Now() - other.started_;
  lost_ += took;
  for (const WaitingRun& waiting : other.runs_) {
    lost_to_[waiting.run->client] += took * (static_cast<double>(waiting.run->plan->total_tokens) /
                                             static_cast<double>(other.tokens_));
  }
}

bool RunningBatch::IsLong() const { return shares_.most() >= kTimesSmaller * host_.small_tokens; }

void RunningBatch::Begin(absl::Span<const size_t> runs) {
  BatchSize size;
  for (const size_t run : runs) {
    ++size.runs;
    size.sequences += static_cast<uint32_t>(runs_[run].run->plan->sequences.size());
    size.tokens += runs_[run].run->plan->total_tokens;
  }
  const absl::Time now = host_.clock.Now();
  for (const size_t run : runs) {
    Execution& execution = executions_[run];
    execution = {.started = now, .batch = size, .count = execution.count + 1};
  }
}

void RunningBatch::Done(size_t run, absl::StatusOr<ExecutionReport> report) {
  const WaitingRun& waiting = runs_[run];
  const Execution& execution = executions_[run];
  RunOutcome outcome;
  outcome.status = report.status();
  if (report.ok()) outcome.report = *std::move(report);
  outcome.queued = started_ - waiting.enqueued;
  outcome.computed = host_.clock.Now() - execution.started;
  outcome.batch = execution.batch;
  outcome.repeats = execution.count == 0 ? 0 : execution.count - 1;
  waiting.run->output->Complete(std::move(outcome));
}

void RunningBatch::BetweenLayers() {
  host_.device.Yield();
  if (lets_others_by_ && IsLong()) host_.let_others_by(*this);
  now_ = host_.clock.Now();
}

// In a batch that is not long, a layer is over before anybody else has been woken.
void RunningBatch::BetweenSteps() {
  if (IsLong()) return BetweenLayers();
  now_ = host_.clock.Now();
}

absl::Status RunningBatch::CheckTime(size_t run) {
  if (now_ < runs_[run].run->deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed while the run computed");
}

void RunningBatch::BeginWait(size_t /*run*/, WaitFor what) {
  host_.device.Release();
  const absl::Time now = host_.clock.Now();
  waiting_since_ = now;
  if (what != WaitFor::kReader || now < next_give_back_) return;
  next_give_back_ = now + host_.give_back_interval;
  host_.give_back();
}

void RunningBatch::EndWait(size_t /*run*/) {
  host_.device.Acquire();
  now_ = host_.clock.Now();
}

absl::Status RunningBatch::KeepWaiting(size_t run, const OpPlan& op) {
  if (host_.clock.Now() - waiting_since_ < host_.hook_timeout) return absl::OkStatus();
  const char* const wanted = host_.must_leave(runs_[run]);
  if (wanted == nullptr) return absl::OkStatus();
  const std::string seconds = absl::StrCat(absl::ToDoubleSeconds(host_.hook_timeout));
  return MakeError(
      absl::StrCat("the pass waited for its client for ", seconds, " s at intervention ",
                   op.intervention, ", and another run needs its ", wanted),
      {v1::ERROR_REASON_HOOK_TIMEOUT,
       absl::StrCat("spec.interventions[", op.intervention, "]"),
       {{"seconds", seconds}}});
}

}  // namespace hookwire::server
