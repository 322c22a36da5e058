#include "server/schedule/fifo_scheduler.h"

#include <algorithm>
#include <limits>
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
    : options_(std::move(options)), execute_(std::move(execute)), clock_(clock) {
  workers_.emplace_back([this] { Work(/*interactive=*/false); });
  for (int i = 0; i < std::max(1, options_.max_interactive); ++i) {
    workers_.emplace_back([this] { Work(/*interactive=*/true); });
  }
}

FifoScheduler::~FifoScheduler() {
  Drain();
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& worker : workers_) worker.join();
}

absl::StatusOr<uint32_t> FifoScheduler::Enqueue(std::unique_ptr<QueuedRun>& run) {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mutex_);
  if (draining_) return ShuttingDown();
  if (queue_.size() >= options_.max_queue) return QueueFull(options_.max_queue);
  const auto ahead = static_cast<uint32_t>(queue_.size()) + static_cast<uint32_t>(running_);
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
  Drop(found, MakeError("the run was cancelled while it waited for its turn",
                        {v1::ERROR_REASON_CANCELLED, "", {}}));
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

std::deque<FifoScheduler::Entry>::iterator FifoScheduler::Next(bool interactive) {
  auto next = queue_.end();
  int fewest = std::numeric_limits<int>::max();
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->run->plan->waits_for_client() != interactive) continue;
    if (!interactive) return it;
    const auto held = places_.find(it->run->client);
    const int places = held == places_.end() ? 0 : held->second;
    if (places >= fewest) continue;
    fewest = places;
    next = it;
  }
  return next;
}

void FifoScheduler::Work(bool interactive) {
  options_.on_worker_start();
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || Next(interactive) != queue_.end();
  };
  while (true) {
    Entry entry;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&ready));
      const auto next = Next(interactive);
      if (next == queue_.end()) return;
      entry = std::move(*next);
      queue_.erase(next);
      ++running_;
      if (interactive) ++places_[entry.run->client];
    }
    const bool gave_place = RunOne(entry);
    absl::MutexLock lock(&mutex_);
    --running_;
    if (gave_place) --leaving_;
    if (!interactive) continue;
    const auto places = places_.find(entry.run->client);
    if (--places->second == 0) places_.erase(places);
  }
}

bool FifoScheduler::TakePlaceFrom(const std::string& client) {
  absl::MutexLock lock(&mutex_);
  int held = 0;
  int most = 0;
  for (const auto& [other, places] : places_) {
    held += places;
    most = std::max(most, places);
  }
  const auto wanted = std::count_if(queue_.begin(), queue_.end(), [](const Entry& entry) {
    return entry.run->plan->waits_for_client();
  });
  // One that a free worker is about to take wants nobody's place.
  const int free = std::max(1, options_.max_interactive) - held;
  if (wanted <= free + leaving_ || places_[client] != most) return false;
  ++leaving_;
  return true;
}

// A run that has started. Holds the device while it computes, and not while it waits for its
// client.
class FifoScheduler::Pass final : public TensorSink {
 public:
  Pass(FifoScheduler& scheduler, const QueuedRun& run) : scheduler_(scheduler), run_(run) {
    scheduler_.device_.Acquire();
  }
  ~Pass() override { scheduler_.device_.Release(); }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor) override {
    return run_.output->Emit(index, offset, std::move(tensor));
  }
  absl::Status Progress(int layers_done) override { return run_.output->Progress(layers_done); }

  bool gave_place() const { return gave_place_; }

  absl::StatusOr<std::vector<at::Tensor>> Await(const OpPlan& op) override {
    scheduler_.device_.Release();
    const absl::Time since = scheduler_.clock_.Now();
    auto answers = run_.output->AwaitAnswer(op, [&] { return KeepWaiting(op, since); });
    scheduler_.device_.Acquire();
    return answers;
  }

 private:
  absl::Status KeepWaiting(const OpPlan& op, absl::Time since) {
    const absl::Duration limit = scheduler_.options_.hook_timeout;
    if (scheduler_.clock_.Now() - since < limit || !scheduler_.TakePlaceFrom(run_.client)) {
      return absl::OkStatus();
    }
    gave_place_ = true;
    const std::string seconds = absl::StrCat(absl::ToDoubleSeconds(limit));
    return MakeError(
        absl::StrCat("the pass waited for its client for ", seconds, " s at intervention ",
                     op.intervention, ", and another run needs its place"),
        {v1::ERROR_REASON_HOOK_TIMEOUT,
         absl::StrCat("spec.interventions[", op.intervention, "]"),
         {{"seconds", seconds}}});
  }

  FifoScheduler& scheduler_;
  const QueuedRun& run_;
  bool gave_place_ = false;
};

bool FifoScheduler::RunOne(const Entry& entry) {
  const QueuedRun& run = *entry.run;
  RunOutcome outcome;
  bool gave_place = false;
  {
    Pass pass(*this, run);
    const absl::Time start = clock_.Now();
    outcome.queued = start - entry.enqueued;
    if (start >= run.deadline) {
      outcome.status =
          absl::DeadlineExceededError("the deadline passed while the run waited for its turn");
    } else {
      absl::StatusOr<ExecutionReport> report = execute_(*run.plan, pass);
      outcome.status = report.status();
      if (report.ok()) outcome.report = *std::move(report);
      outcome.computed = clock_.Now() - start;
      outcome.batch_sequences = static_cast<uint32_t>(run.plan->sequences.size());
      outcome.batch_tokens = run.plan->total_tokens;
    }
    gave_place = pass.gave_place();
  }
  run.output->Complete(std::move(outcome));
  return gave_place;
}

}  // namespace hookwire::server
