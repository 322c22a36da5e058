// Which of the runs that wait begin now, and for which of them room is kept.
#include <algorithm>
#include <utility>

#include "server/schedule/batch_scheduler.h"
#include "server/schedule/queue_errors.h"
#include "server/schedule/shares.h"

namespace hookwire::server {

bool BatchScheduler::HasMemoryFor(const WaitingRun& waiting) const {
  return memory_.Fits(waiting.run->id, waiting.run->plan->activation_bytes);
}

void BatchScheduler::Admit(WaitingRun& waiting) {
  const bool had_claim = memory_.has_claim();
  waiting.memory = memory_.Admit(waiting.run->id, waiting.run->plan->activation_bytes);
  // Another run that has aged may have the claim now.
  if (had_claim && !memory_.has_claim()) look_again_ = true;
  ++running_;
  gave_back_ = false;
}

void BatchScheduler::Retire(const WaitingRun& waiting) {
  memory_.Return(waiting.memory);
  --running_;
  stuck_ = false;
}

void BatchScheduler::Forget(const WaitingRun& waiting) {
  if (!memory_.EndClaim(waiting.run->id)) return;
  look_again_ = true;
  stuck_ = false;
}

void BatchScheduler::PassOver(WaitingRun& waiting, absl::Time now) {
  if (waiting.passed_over_since != absl::InfiniteFuture()) return;
  waiting.passed_over_since = now;
  look_again_ = true;
}

std::vector<WaitingRun> BatchScheduler::NextBatch(const RunningBatch* beside) {
  std::vector<WaitingRun> batch;
  std::vector<WaitingRun> late;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = clock_.Now();
    uint64_t tokens = 0;
    Shares shares(options_.small_tokens);
    const auto fits = [&](WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      const QueuedRun& run = *waiting.run;
      const uint64_t with = tokens + run.plan->total_tokens;
      if (!batch.empty() &&
          (with > options_.max_batch_tokens || !shares.Allow(run.client, run.plan->total_tokens))) {
        return false;
      }
      if (beside != nullptr && !beside->LetsBy(run, with)) return false;
      if (run.deadline <= now) return true;
      if (!HasMemoryFor(waiting)) {
        // Beside others of its batch it may be too large; the next batch then begins with it.
        if (beside == nullptr && batch.empty()) PassOver(waiting, now);
        return false;
      }
      if (run.output->Reserve(/*claim=*/waiting.aged)) return true;
      PassOver(waiting, now);
      return false;
    };
    while (auto next = queue(Lane::kShared).Pop(fits)) {
      if (next->run->deadline <= now) {
        Forget(*next);
        late.push_back(*std::move(next));
        continue;
      }
      Admit(*next);
      tokens += next->run->plan->total_tokens;
      shares.Add(next->run->client, next->run->plan->total_tokens);
      batch.push_back(*std::move(next));
    }
    if (beside == nullptr) stuck_ = batch.empty();
  }
  for (const WaitingRun& waiting : late) Drop(waiting, DeadlinePassedInQueue());
  return batch;
}

bool BatchScheduler::CanTakeAgedRun(const WaitingRun& waiting) const {
  return waiting.aged && paced_.held(waiting.run->client) == 0 && HasMemoryFor(waiting);
}

bool BatchScheduler::HasWork(Lane lane) {
  // A run that lacks memory is looked at once, so that it is known since when.
  const auto fits = [this](const WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return HasMemoryFor(waiting) || waiting.passed_over_since == absl::InfiniteFuture();
  };
  if (queue(lane).Any(fits)) return true;
  return lane == Lane::kPaced &&
         queue(Lane::kShared)
             .Any([this](const WaitingRun& waiting)
                      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return CanTakeAgedRun(waiting); });
}

std::optional<WaitingRun> BatchScheduler::NextAlone(Lane lane) {
  const absl::Time now = clock_.Now();
  const Slots& slots = this->slots(lane);
  auto next = queue(lane).Pop([this](WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return waiting.aged && HasMemoryFor(waiting);
  });
  // Clients that hold fewer slots come first.
  for (int held = 0; !next && held < slots.count(); ++held) {
    std::vector<WaitingRun*> refused;
    next = queue(lane).Pop([&](WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      if (slots.held(waiting.run->client) != held) {
        refused.push_back(&waiting);
        return false;
      }
      if (HasMemoryFor(waiting)) return true;
      PassOver(waiting, now);
      return false;
    });
    if (!next) continue;
    for (WaitingRun* const waiting : refused) PassOver(*waiting, now);
  }
  if (!next && lane == Lane::kPaced) {
    next =
        queue(Lane::kShared).Pop([this](WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
          return CanTakeAgedRun(waiting);
        });
  }
  if (next) Admit(*next);
  return next;
}

absl::Time BatchScheduler::LookAtWaiting(absl::Time now) {
  std::vector<WaitingRun> overdue;
  // As if a run came now: where none waits, that is the first that could be overdue.
  absl::Time oldest = now;
  absl::Time next_aged = absl::InfiniteFuture();
  {
    absl::MutexLock lock(&mutex_);
    look_again_ = false;
    for (FairQueue& queue : queues_) {
      for (WaitingRun& waiting : queue.RemoveOlderThan(now - options_.max_queue_time)) {
        Forget(waiting);
        overdue.push_back(std::move(waiting));
      }
      oldest = std::min(oldest, queue.oldest());
    }
    if (!overdue.empty()) stuck_ = false;
    // Of the aged runs that lack memory, the one that has waited longest.
    const WaitingRun* claimant = nullptr;
    for (FairQueue& queue : queues_) {
      queue.ForEachNext([&](WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        const absl::Time aged = waiting.passed_over_since + options_.max_passed_over;
        if (aged > now) {
          next_aged = std::min(next_aged, aged);
          return;
        }
        // It is asked once more, and now claims room.
        if (!std::exchange(waiting.aged, true)) stuck_ = false;
        if (HasMemoryFor(waiting)) return;
        if (claimant == nullptr || waiting.enqueued < claimant->enqueued) claimant = &waiting;
      });
    }
    if (claimant != nullptr && !memory_.has_claim()) {
      memory_.Claim(claimant->run->id, claimant->run->plan->activation_bytes);
    }
  }
  for (const WaitingRun& waiting : overdue) Drop(waiting, QueueTimeout(now - waiting.enqueued));
  return std::min(oldest + options_.max_queue_time, next_aged);
}

const char* BatchScheduler::MustLeave(WaitingRun& run) {
  absl::MutexLock lock(&mutex_);
  if (interactive_.MustLeave(run.run->client, static_cast<int>(queue(Lane::kInteractive).size()))) {
    run.leaving_slot = true;
    return "slot";
  }
  return memory_.MustLeave(run.memory) ? "memory" : nullptr;
}

}  // namespace hookwire::server
