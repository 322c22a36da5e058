#include "server/schedule/fifo_scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "the server is shutting down and takes no more runs",
                   {v1::ERROR_REASON_SHUTTING_DOWN, "", {}});
}

absl::Status QueueFull(size_t limit) {
  return MakeError(absl::StatusCode::kResourceExhausted,
                   absl::StrCat("too many runs are waiting: this server lets ", limit, " wait"),
                   {v1::ERROR_REASON_QUEUE_FULL, "", {{"limit", absl::StrCat(limit)}}});
}

}  // namespace

FifoScheduler::FifoScheduler(Options options, Execute execute, const Clock& clock)
    : options_(std::move(options)),
      execute_(std::move(execute)),
      clock_(clock),
      worker_([this] { Work(); }) {}

FifoScheduler::~FifoScheduler() {
  Drain();
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  worker_.join();
}

absl::StatusOr<uint32_t> FifoScheduler::Enqueue(std::unique_ptr<QueuedRun>& run) {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mutex_);
  if (draining_) return ShuttingDown();
  if (queue_.size() >= options_.max_queue) return QueueFull(options_.max_queue);
  const auto ahead = static_cast<uint32_t>(queue_.size() + (running_ ? 1 : 0));
  queue_.push_back({std::move(run), now});
  return ahead;
}

bool FifoScheduler::Cancel(std::string_view id) {
  Entry found;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = std::find_if(queue_.begin(), queue_.end(),
                                 [id](const Entry& entry) { return entry.run->id == id; });
    if (it == queue_.end()) return false;
    found = std::move(*it);
    queue_.erase(it);
  }
  Drop(found, absl::CancelledError("the run was cancelled while it waited for its turn"));
  return true;
}

void FifoScheduler::Drain() {
  std::deque<Entry> dropped;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    dropped.swap(queue_);
  }
  for (const Entry& entry : dropped) Drop(entry, ShuttingDown());
}

void FifoScheduler::Drop(const Entry& entry, const absl::Status& status) const {
  RunOutcome outcome;
  outcome.status = status;
  outcome.queued = clock_.Now() - entry.enqueued;
  entry.run->output->Complete(std::move(outcome));
}

void FifoScheduler::Work() {
  options_.on_worker_start();
  const auto ready = [this]()
                         ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || !queue_.empty(); };
  while (true) {
    Entry entry;
    {
      absl::MutexLock lock(&mutex_);
      running_ = false;
      mutex_.Await(absl::Condition(&ready));
      if (queue_.empty()) return;
      entry = std::move(queue_.front());
      queue_.pop_front();
      running_ = true;
    }
    RunOne(entry);
  }
}

void FifoScheduler::RunOne(const Entry& entry) {
  const QueuedRun& run = *entry.run;
  const absl::Time start = clock_.Now();
  if (start >= run.deadline) {
    Drop(entry,
         absl::DeadlineExceededError("the deadline passed while the run waited for its turn"));
    return;
  }
  RunOutcome outcome;
  absl::StatusOr<ExecutionReport> report = execute_(*run.plan, *run.output);
  outcome.status = report.status();
  if (report.ok()) outcome.report = *std::move(report);
  outcome.queued = start - entry.enqueued;
  outcome.computed = clock_.Now() - start;
  outcome.batch_sequences = static_cast<uint32_t>(run.plan->sequences.size());
  outcome.batch_tokens = run.plan->total_tokens;
  run.output->Complete(std::move(outcome));
}

}  // namespace hookwire::server
