#include "server/schedule/batch_scheduler.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

// What goes through on the way of a pass is at least so many times smaller than what one client has
// in it.
constexpr uint64_t kTimesSmaller = 8;
// Clients that share a pass have at most so many times the tokens of one another.
constexpr uint64_t kTimesOthers = 2;

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "the server is shutting down and takes no more runs",
                   {v1::ERROR_REASON_SHUTTING_DOWN, "", {}});
}

absl::Status QueueFull(size_t limit) {
  return MakeError(absl::StrCat("too many runs are waiting: this server lets ", limit, " wait"),
                   {v1::ERROR_REASON_QUEUE_FULL, "", {{"limit", absl::StrCat(limit)}}});
}

absl::Status TooManyOfOneClient(size_t waiting, size_t free, size_t limit) {
  return MakeError(absl::StrCat("too many runs of this client are waiting: ", waiting, ", with ",
                                free, " of the queue's ", limit,
                                " places free; one client may fill half of what the "
                                "others leave"),
                   {v1::ERROR_REASON_QUEUE_FULL,
                    "",
                    {{"limit", absl::StrCat(limit)}, {"waiting", absl::StrCat(waiting)}}});
}

absl::Status QueueTimeout(absl::Duration waited) {
  const std::string seconds = absl::StrCat(absl::ToInt64Seconds(waited));
  return MakeError(absl::StrCat("the run waited for its turn for ", seconds,
                                " s, which is as long as this server lets runs wait"),
                   {v1::ERROR_REASON_QUEUE_TIMEOUT, "", {{"seconds", seconds}}});
}

// A limit of 0 is none.
bool IsOver(uint64_t bytes, uint64_t limit) { return limit != 0 && bytes > limit; }

absl::Status DeadlinePassed(const char* when) {
  return absl::DeadlineExceededError(absl::StrCat("the deadline passed while the run ", when));
}

// Tokens of a batch, by client.
class Shares {
 public:
  // `small`: what nobody minds another to have.
  explicit Shares(uint64_t small) : small_(small) {}

  // Whether the shares would still be alike with a run of `tokens` more. Else whoever has little
  // would wait for whoever has much.
  bool Allow(const std::string& client, uint64_t tokens) const {
    const auto own = tokens_.find(client);
    if (own != tokens_.end()) tokens += own->second;
    uint64_t most = tokens;
    uint64_t least = tokens;
    for (const auto& [other, share] : tokens_) {
      if (other == client) continue;
      most = std::max(most, share);
      least = std::min(least, share);
    }
    return most <= std::max(small_, kTimesOthers * least);
  }
  void Add(const std::string& client, uint64_t tokens) {
    uint64_t& share = tokens_[client];
    share += tokens;
    most_ = std::max(most_, share);
  }
  bool Has(const std::string& client) const { return tokens_.contains(client); }
  // The most that one client has.
  uint64_t most() const { return most_; }

 private:
  const uint64_t small_;
  absl::flat_hash_map<std::string, uint64_t> tokens_;
  uint64_t most_ = 0;
};

}  // namespace

// Runs that have started, and share a pass. While it exists it holds the device, but for the times
// that it waits.
class BatchScheduler::Pass final : public BatchObserver {
 public:
  // `lets_others_by`: whether smaller batches may go through on the way.
  Pass(BatchScheduler& scheduler, std::vector<WaitingRun> batch, bool lets_others_by)
      : scheduler_(scheduler),
        lets_others_by_(lets_others_by),
        shares_(scheduler.options_.small_tokens) {
    for (WaitingRun& waiting : batch) {
      tokens_ += waiting.run->plan->total_tokens;
      shares_.Add(waiting.run->client, waiting.run->plan->total_tokens);
      sequences_ += waiting.run->plan->sequences.size();
      runs_.push_back(std::make_unique<Run>(*this, std::move(waiting)));
    }
  }

  // REQUIRES: the thread holds the device.
  void Execute() {
    started_ = scheduler_.clock_.Now();
    std::vector<BatchedRun> runs;
    for (const auto& run : runs_) runs.push_back({run->waiting.run->plan.get(), run.get()});
    scheduler_.execute_(runs, *this);
  }

  bool gave_place() const { return gave_place_; }

  // Whether a run may go through on the way of this pass, in a batch of `tokens` with it.
  bool LetsBy(const QueuedRun& run, uint64_t tokens) const {
    if (tokens > shares_.most() / kTimesSmaller || shares_.Has(run.client)) return false;
    const auto had = let_by_.find(run.client);
    return had == let_by_.end() || had->second <= scheduler_.clock_.Now() - started_ - lost_;
  }

  // BatchObserver
  void Done(size_t index, absl::StatusOr<ExecutionReport> report) override {
    const WaitingRun& waiting = runs_[index]->waiting;
    RunOutcome outcome;
    outcome.status = report.status();
    if (report.ok()) outcome.report = *std::move(report);
    outcome.queued = started_ - waiting.enqueued;
    outcome.computed = scheduler_.clock_.Now() - started_;
    outcome.batch_runs = static_cast<uint32_t>(runs_.size());
    outcome.batch_sequences = static_cast<uint32_t>(sequences_);
    outcome.batch_tokens = tokens_;
    waiting.run->output->Complete(std::move(outcome));
  }

  void BetweenLayers() override {
    scheduler_.device_.Yield();
    if (lets_others_by_ && IsLong()) LetOthersBy();
  }

  // In a pass that is not long, a layer is over before anybody else has been woken.
  void BetweenSteps() override {
    if (IsLong()) BetweenLayers();
  }

  size_t size() const { return runs_.size(); }

 private:
  // Whether any run is small beside it.
  bool IsLong() const { return shares_.most() >= kTimesSmaller * scheduler_.options_.small_tokens; }

  void LetOthersBy() {
    std::vector<WaitingRun> batch = scheduler_.NextBatch(this);
    if (batch.empty()) return;
    Pass small(scheduler_, std::move(batch), /*lets_others_by=*/false);
    small.Execute();
    scheduler_.Finished(small);
    const absl::Duration took = scheduler_.clock_.Now() - small.started_;
    lost_ += took;
    for (const auto& run : small.runs_) {
      let_by_[run->waiting.run->client] +=
          took * (static_cast<double>(run->waiting.run->plan->total_tokens) /
                  static_cast<double>(small.tokens_));
    }
  }

  // One run, as the executor sees it.
  struct Run final : TensorSink {
    Run(Pass& pass_in, WaitingRun waiting_in) : pass(pass_in), waiting(std::move(waiting_in)) {}

    uint8_t* Place(uint32_t index, uint64_t offset, uint64_t bytes) override {
      return waiting.run->output->Place(index, offset, bytes);
    }

    absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor) override {
      return waiting.run->output->Emit(index, offset, std::move(tensor), [this](bool waits) {
        BatchScheduler& scheduler = pass.scheduler_;
        if (!waits) return scheduler.device_.Acquire();
        scheduler.device_.Release();
        const absl::Time now = scheduler.clock_.Now();
        if (now < next_give_back) return;
        next_give_back = now + scheduler.options_.give_back_interval;
        scheduler.options_.give_back();
      });
    }

    absl::Status Progress(int layers_done) override {
      if (pass.scheduler_.clock_.Now() >= waiting.run->deadline) {
        return DeadlinePassed("computed");
      }
      return waiting.run->output->Progress(layers_done);
    }

    absl::StatusOr<std::vector<at::Tensor>> Await(const OpPlan& op) override {
      pass.scheduler_.device_.Release();
      const absl::Time since = pass.scheduler_.clock_.Now();
      auto answers = waiting.run->output->AwaitAnswer(
          op, [&] { return pass.KeepWaiting(op, since, waiting.run->client); });
      pass.scheduler_.device_.Acquire();
      return answers;
    }

    Pass& pass;
    const WaitingRun waiting;
    absl::Time next_give_back = absl::InfinitePast();
  };

  absl::Status KeepWaiting(const OpPlan& op, absl::Time since, const std::string& client) {
    const absl::Duration limit = scheduler_.options_.hook_timeout;
    if (scheduler_.clock_.Now() - since < limit || !scheduler_.TakePlaceFrom(client)) {
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

  BatchScheduler& scheduler_;
  const bool lets_others_by_;
  std::vector<std::unique_ptr<Run>> runs_;
  uint64_t tokens_ = 0;
  uint64_t sequences_ = 0;
  Shares shares_;
  absl::Time started_;
  // What others took on the way, all of them and by client.
  absl::Duration lost_;
  absl::flat_hash_map<std::string, absl::Duration> let_by_;
  bool gave_place_ = false;
};

BatchScheduler::BatchScheduler(Options options, Execute execute, const Clock& clock)
    : options_(std::move(options)),
      execute_(std::move(execute)),
      clock_(clock),
      paced_(std::max(1, options_.max_paced)),
      interactive_(std::max(1, options_.max_interactive)) {
  threads_.emplace_back([this] { WorkShared(); });
  for (const auto& [lane, count] : {std::pair(Lane::kPaced, options_.max_paced),
                                    std::pair(Lane::kInteractive, options_.max_interactive)}) {
    for (int i = 0; i < std::max(1, count); ++i) {
      threads_.emplace_back([this, lane = lane] { WorkAlone(lane); });
    }
  }
  threads_.emplace_back([this] { Watch(); });
}

BatchScheduler::~BatchScheduler() {
  Drain();
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

BatchScheduler::Lane BatchScheduler::LaneOf(const QueuedRun& run) {
  if (run.plan->waits_for_client()) return Lane::kInteractive;
  return run.output->FitsBuffer() ? Lane::kShared : Lane::kPaced;
}

Scheduler::Load BatchScheduler::load() const {
  const absl::MutexLock lock(&mutex_);
  return {.waiting = static_cast<uint32_t>(waiting()), .running = running_};
}

size_t BatchScheduler::waiting() const {
  size_t waiting = 0;
  for (const FairQueue& queue : queues_) waiting += queue.size();
  return waiting;
}

absl::StatusOr<uint32_t> BatchScheduler::Enqueue(std::unique_ptr<QueuedRun>& run) {
  const absl::Time now = clock_.Now();
  const Lane lane = LaneOf(*run);
  absl::MutexLock lock(&mutex_);
  if (draining_) return ShuttingDown();
  const size_t all = waiting();
  if (all >= options_.max_queue) return QueueFull(options_.max_queue);
  size_t own = 0;
  for (const FairQueue& queue : queues_) own += queue.size(run->client);
  // The dynamic threshold of Choudhury and Hahne (1998): whoever comes last finds a place.
  const size_t free = options_.max_queue - all;
  if (own > 0 && own >= free) return TooManyOfOneClient(own, free, options_.max_queue);
  queue(lane).Push({std::move(run), now});
  if (lane == Lane::kShared) stuck_ = false;
  return static_cast<uint32_t>(all) + running_;
}

bool BatchScheduler::Cancel(std::string_view id) {
  std::optional<WaitingRun> found;
  {
    absl::MutexLock lock(&mutex_);
    for (FairQueue& queue : queues_) {
      if (!found) found = queue.Remove(id);
    }
    // Whoever was behind it may fit.
    stuck_ = false;
  }
  if (!found) return false;
  Drop(*found, MakeError("the run was cancelled while it waited for its turn",
                         {v1::ERROR_REASON_CANCELLED, "", {}}));
  return true;
}

void BatchScheduler::Drain() {
  std::vector<WaitingRun> dropped;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    for (FairQueue& queue : queues_) {
      for (WaitingRun& waiting : queue.RemoveAll()) dropped.push_back(std::move(waiting));
    }
  }
  for (const WaitingRun& waiting : dropped) Drop(waiting, ShuttingDown());
}

void BatchScheduler::RoomCameFree() {
  absl::MutexLock lock(&mutex_);
  stuck_ = false;
}

void BatchScheduler::Drop(const WaitingRun& waiting, const absl::Status& status) const {
  RunOutcome outcome;
  outcome.status = status;
  outcome.queued = clock_.Now() - waiting.enqueued;
  waiting.run->output->Complete(std::move(outcome));
}

std::vector<WaitingRun> BatchScheduler::NextBatch(const Pass* beside) {
  std::vector<WaitingRun> batch;
  std::vector<WaitingRun> late;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = clock_.Now();
    uint64_t tokens = 0;
    uint64_t bytes = 0;
    Shares shares(options_.small_tokens);
    const auto fits = [&](const QueuedRun& run) {
      const uint64_t with = tokens + run.plan->total_tokens;
      if (!batch.empty() &&
          (with > options_.max_batch_tokens ||
           IsOver(bytes + run.plan->activation_bytes, options_.max_activation_bytes) ||
           !shares.Allow(run.client, run.plan->total_tokens))) {
        return false;
      }
      if (beside != nullptr && !beside->LetsBy(run, with)) return false;
      return run.deadline <= now || run.output->Reserve();
    };
    while (auto next = queue(Lane::kShared).Pop(fits)) {
      if (next->run->deadline <= now) {
        late.push_back(*std::move(next));
        continue;
      }
      tokens += next->run->plan->total_tokens;
      bytes += next->run->plan->activation_bytes;
      shares.Add(next->run->client, next->run->plan->total_tokens);
      batch.push_back(*std::move(next));
    }
    running_ += static_cast<uint32_t>(batch.size());
    gave_back_ = false;
    if (beside == nullptr) stuck_ = batch.empty();
  }
  for (const WaitingRun& waiting : late) Drop(waiting, DeadlinePassed("waited for its turn"));
  return batch;
}

void BatchScheduler::Finished(const Pass& pass) {
  absl::MutexLock lock(&mutex_);
  running_ -= static_cast<uint32_t>(pass.size());
}

void BatchScheduler::AwaitWork(absl::FunctionRef<bool()> ready) {
  const absl::Condition condition(&ready);
  if (mutex_.AwaitWithTimeout(condition, options_.idle_time)) return;
  if (running_ == 0 && !std::exchange(gave_back_, true)) {
    mutex_.Unlock();
    options_.give_back();
    mutex_.Lock();
  }
  mutex_.Await(condition);
}

void BatchScheduler::WorkShared() {
  options_.on_worker_start();
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || (!queue(Lane::kShared).empty() && !stuck_);
  };
  const auto full = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || queue(Lane::kShared).tokens() >= options_.max_batch_tokens;
  };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      AwaitWork(ready);
      if (stop_) return;
      if (options_.max_batch_delay > absl::ZeroDuration()) {
        const absl::Duration waited = clock_.Now() - queue(Lane::kShared).oldest();
        mutex_.AwaitWithTimeout(absl::Condition(&full), options_.max_batch_delay - waited);
      }
    }
    // What comes while others have the device goes along.
    device_.Acquire();
    if (std::vector<WaitingRun> batch = NextBatch(nullptr); !batch.empty()) {
      Pass pass(*this, std::move(batch), /*lets_others_by=*/true);
      pass.Execute();
      Finished(pass);
    }
    device_.Release();
  }
}

bool BatchScheduler::FitsAlone(const QueuedRun& run) const {
  return alone_bytes_ == 0 ||
         !IsOver(alone_bytes_ + run.plan->activation_bytes, options_.max_activation_bytes);
}

std::optional<WaitingRun> BatchScheduler::NextAlone(Lane lane) {
  const Places& places = this->places(lane);
  // Who holds fewer places comes first.
  for (int held = 0; held < places.count(); ++held) {
    const auto fits = [&](const QueuedRun& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return places.held(run.client) == held && FitsAlone(run);
    };
    if (auto next = queue(lane).Pop(fits)) return next;
  }
  return std::nullopt;
}

void BatchScheduler::WorkAlone(Lane lane) {
  options_.on_worker_start();
  const auto fits = [this](const QueuedRun& run)
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return FitsAlone(run); };
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || queue(lane).Any(fits);
  };
  while (true) {
    std::optional<WaitingRun> next;
    {
      absl::MutexLock lock(&mutex_);
      AwaitWork(ready);
      if (stop_) return;
      next = NextAlone(lane);
      if (!next) continue;
      ++running_;
      gave_back_ = false;
      alone_bytes_ += next->run->plan->activation_bytes;
      places(lane).Take(next->run->client);
    }
    const std::string client = next->run->client;
    const uint64_t bytes = next->run->plan->activation_bytes;
    bool gave_place = false;
    if (clock_.Now() >= next->run->deadline) {
      Drop(*next, DeadlinePassed("waited for its turn"));
    } else {
      // Where there is room for all of it, the reader need not be waited for.
      next->run->output->Reserve();
      std::vector<WaitingRun> batch;
      batch.push_back(*std::move(next));
      Pass pass(*this, std::move(batch), /*lets_others_by=*/false);
      device_.Acquire();
      pass.Execute();
      device_.Release();
      gave_place = pass.gave_place();
    }
    absl::MutexLock lock(&mutex_);
    --running_;
    alone_bytes_ -= bytes;
    places(lane).Return(client, gave_place);
  }
}

bool BatchScheduler::TakePlaceFrom(const std::string& client) {
  absl::MutexLock lock(&mutex_);
  return interactive_.ShouldLeave(client, static_cast<int>(queue(Lane::kInteractive).size()));
}

absl::Time BatchScheduler::EndOverdue(absl::Time now) {
  std::vector<WaitingRun> overdue;
  // As if one came now: where none waits, that is the first that could be overdue.
  absl::Time oldest = now;
  {
    absl::MutexLock lock(&mutex_);
    for (FairQueue& queue : queues_) {
      for (WaitingRun& waiting : queue.RemoveOlderThan(now - options_.max_queue_time)) {
        overdue.push_back(std::move(waiting));
      }
      oldest = std::min(oldest, queue.oldest());
    }
    stuck_ = false;
  }
  for (const WaitingRun& waiting : overdue) Drop(waiting, QueueTimeout(now - waiting.enqueued));
  return oldest + options_.max_queue_time;
}

void BatchScheduler::Watch() {
  absl::Time next = clock_.Now() + options_.max_queue_time;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stop_), next - clock_.Now())) return;
    }
    next = EndOverdue(clock_.Now());
  }
}

}  // namespace hookwire::server
