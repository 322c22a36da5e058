#include "server/schedule/batch_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/errors/errors.h"
#include "server/execute/emitter.h"
#include "tests/unit/schedule/fake_output.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// An executor that waits in each pass until the test lets it go on.
class Gate {
 public:
  void Pass(absl::Span<const BatchedRun> runs, BatchContext& context) {
    {
      absl::MutexLock lock(&mutex_);
      std::vector<uint64_t> tokens;
      for (const BatchedRun& run : runs) tokens.push_back(run.plan->total_tokens);
      started_.push_back(std::move(tokens));
      mutex_.Await(absl::Condition(
          +[](Gate* gate) ABSL_SHARED_LOCKS_REQUIRED(gate->mutex_) { return gate->permits_ > 0; },
          this));
      --permits_;
    }
    for (int i = 0; i < layers; ++i) context.BetweenLayers();
    uint64_t tokens = 0;
    for (const BatchedRun& run : runs) tokens += run.plan->total_tokens;
    on_start(tokens);
    for (int i = 0; i < steps; ++i) {
      on_step(tokens);
      context.BetweenSteps();
    }
    for (size_t i = 0; i < runs.size(); ++i) {
      ExecutionReport report;
      report.tensors = runs[i].plan->total_tokens;
      context.Done(i, std::move(report));
    }
  }

  void Let(int passes) {
    absl::MutexLock lock(&mutex_);
    permits_ += passes;
  }

  void WaitForStart(size_t passes) {
    absl::MutexLock lock(&mutex_);
    const auto started = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return started_.size() >= passes;
    };
    mutex_.Await(absl::Condition(&started));
  }

  // By pass: its runs' tokens.
  std::vector<std::vector<uint64_t>> started() {
    absl::MutexLock lock(&mutex_);
    return started_;
  }

  int layers = 0;
  int steps = 0;
  // Called with the tokens of the pass.
  std::function<void(uint64_t)> on_start = [](uint64_t) {};
  std::function<void(uint64_t)> on_step = [](uint64_t) {};

 private:
  absl::Mutex mutex_;
  int permits_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::vector<uint64_t>> started_ ABSL_GUARDED_BY(mutex_);
};

class BatchSchedulerTest : public testing::Test {
 protected:
  ~BatchSchedulerTest() override { gate_.Let(1000); }

  void Start(BatchScheduler::Options options) { Start(std::move(options), gate_); }
  void Start(BatchScheduler::Options options, Gate& gate) {
    scheduler_ = std::make_unique<BatchScheduler>(
        std::move(options),
        [&gate](absl::Span<const BatchedRun> runs, BatchContext& context) {
          gate.Pass(runs, context);
        },
        clock_);
  }

  std::unique_ptr<QueuedRun> Make(uint64_t number, const std::string& client = "alice") {
    outputs_.push_back(std::make_shared<FakeOutput>());
    return MakeRun(std::to_string(number), client, number, outputs_.back());
  }
  absl::StatusOr<uint32_t> Enqueue(uint64_t number, const std::string& client = "alice") {
    auto run = Make(number, client);
    return scheduler_->Enqueue(run);
  }

  // Starts a scheduler, and run number 1000, which holds the worker until the gate opens.
  void StartBusy(BatchScheduler::Options options) {
    Start(std::move(options));
    ASSERT_TRUE(Enqueue(1000, "busy").ok());
    gate_.WaitForStart(1);
  }

  Gate gate_;
  FakeClock clock_;
  std::vector<std::shared_ptr<FakeOutput>> outputs_;
  std::unique_ptr<BatchScheduler> scheduler_;
};

TEST_F(BatchSchedulerTest, RunsThatWaitShareAPass) {
  StartBusy({});
  EXPECT_EQ(*Enqueue(1), 1u);
  EXPECT_EQ(*Enqueue(2), 2u) << "one that runs and one that waits are ahead";
  EXPECT_EQ(*Enqueue(3, "bob"), 3u);
  gate_.Let(2);
  const RunOutcome& outcome = outputs_[3]->Wait();
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_EQ(outcome.report.tensors, 3u);
  EXPECT_EQ(outcome.batch.runs, 3u);
  EXPECT_EQ(outcome.batch.sequences, 3u);
  EXPECT_EQ(outcome.batch.tokens, 6u);
  ASSERT_EQ(gate_.started().size(), 2u);
  EXPECT_THAT(gate_.started()[1], UnorderedElementsAre(1, 2, 3));
}

TEST_F(BatchSchedulerTest, ABatchHasAtMostSoManyTokensAndALargerRunABatchOfItsOwn) {
  StartBusy({.max_batch_tokens = 10});
  for (const uint64_t tokens : {6, 4, 30, 5}) ASSERT_TRUE(Enqueue(tokens).ok());
  gate_.Let(4);
  outputs_.back()->Wait();
  EXPECT_THAT(gate_.started(),
              ElementsAre(ElementsAre(1000), ElementsAre(6, 4), ElementsAre(30), ElementsAre(5)));
}

TEST_F(BatchSchedulerTest, ManyRunsOfOneClientDoNotDelayAnother) {
  StartBusy({.max_batch_tokens = 1000, .small_tokens = 15});
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(Enqueue(10, "flood").ok());
  ASSERT_TRUE(Enqueue(7, "small").ok());
  gate_.Let(3);
  outputs_.back()->Wait();
  gate_.WaitForStart(3);
  EXPECT_THAT(gate_.started()[1], UnorderedElementsAre(10, 7));
  EXPECT_EQ(gate_.started()[2].size(), 39u) << "alone it fills the pass";
}

TEST_F(BatchSchedulerTest, WhatIsSmallSharesAPassWhateverItsShare) {
  StartBusy({.small_tokens = 40});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Enqueue(10, "some").ok());
  ASSERT_TRUE(Enqueue(1, "little").ok());
  gate_.Let(2);
  outputs_.back()->Wait();
  EXPECT_THAT(gate_.started()[1], UnorderedElementsAre(10, 10, 10, 10, 1));
}

TEST_F(BatchSchedulerTest, ALongRunAndAShortOneOfAnotherDoNotShareAPass) {
  StartBusy({});
  ASSERT_TRUE(Enqueue(500, "alice").ok());
  ASSERT_TRUE(Enqueue(40, "bob").ok());
  ASSERT_TRUE(Enqueue(81, "carol").ok());
  ASSERT_TRUE(Enqueue(80, "dave").ok());
  gate_.Let(4);
  for (const auto& output : outputs_) output->Wait();
  EXPECT_THAT(gate_.started(), UnorderedElementsAre(ElementsAre(1000), ElementsAre(500),
                                                    UnorderedElementsAre(40, 80), ElementsAre(81)));
}

TEST_F(BatchSchedulerTest, ARunWithoutRoomForItsResultLetsOthersByAndRunsWhenThereIsRoom) {
  Start({});
  auto slow = Make(1, "slow reader");
  outputs_[0]->has_room = false;
  gate_.Let(2);
  ASSERT_TRUE(scheduler_->Enqueue(slow).ok());
  ASSERT_TRUE(Enqueue(2, "bob").ok());
  EXPECT_TRUE(outputs_[1]->Wait().status.ok());
  EXPECT_FALSE(outputs_[0]->completed());
  outputs_[0]->has_room = true;
  scheduler_->RoomCameFree();
  EXPECT_TRUE(outputs_[0]->Wait().status.ok());
}

TEST_F(BatchSchedulerTest, WithoutRoomNobodyIsAskedAgainAndAgain) {
  Start({});
  auto run = Make(1);
  outputs_[0]->has_room = false;
  ASSERT_TRUE(scheduler_->Enqueue(run).ok());
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(outputs_[0]->asked_for_room, 1);
}

TEST(BatchScheduler, TellsTheBatchInWhichARunWasComputed) {
  FakeClock clock;
  absl::Notification all_wait;
  std::vector<std::shared_ptr<FakeOutput>> outputs;
  // The first pass fails after 5 s; the last run then takes 2 s alone, and the others 3 s together.
  BatchScheduler scheduler(
      {},
      [&](absl::Span<const BatchedRun> runs, BatchContext& context) {
        all_wait.WaitForNotification();
        if (runs.size() == 1) return context.Done(0, ExecutionReport{});
        const size_t all[] = {0, 1, 2};
        context.Begin(all);
        clock.Advance(absl::Seconds(5));
        const size_t last[] = {2};
        context.Begin(last);
        clock.Advance(absl::Seconds(2));
        context.Done(2, ExecutionReport{});
        const size_t others[] = {0, 1};
        context.Begin(others);
        clock.Advance(absl::Seconds(3));
        context.Done(0, ExecutionReport{});
        context.Done(1, absl::InternalError("broke"));
      },
      clock);
  for (const uint64_t tokens : {100, 4, 5, 6}) {
    outputs.push_back(std::make_shared<FakeOutput>());
    auto run = MakeRun(std::to_string(tokens), "alice", tokens, outputs.back());
    ASSERT_TRUE(scheduler.Enqueue(run).ok());
    if (tokens == 100) outputs.back()->first_asked_for_room.WaitForNotification();
  }
  all_wait.Notify();
  const RunOutcome& untroubled = outputs[0]->Wait();
  EXPECT_EQ(untroubled.batch.runs, 1u);
  EXPECT_EQ(untroubled.batch.tokens, 100u);
  EXPECT_EQ(untroubled.repeats, 0u);
  const RunOutcome& alone = outputs[3]->Wait();
  EXPECT_EQ(alone.batch.runs, 1u);
  EXPECT_EQ(alone.batch.sequences, 1u);
  EXPECT_EQ(alone.batch.tokens, 6u);
  EXPECT_EQ(alone.repeats, 1u);
  EXPECT_EQ(alone.computed, absl::Seconds(2));
  EXPECT_EQ(alone.queued, absl::ZeroDuration());
  const RunOutcome& together = outputs[1]->Wait();
  EXPECT_EQ(together.batch.runs, 2u);
  EXPECT_EQ(together.batch.tokens, 9u);
  EXPECT_EQ(together.repeats, 1u);
  EXPECT_EQ(together.computed, absl::Seconds(3));
  EXPECT_EQ(outputs[2]->Wait().batch.runs, 2u);
}

TEST_F(BatchSchedulerTest, WaitsForCompanyOnlyWhereTold) {
  Start({.max_batch_tokens = 10, .max_batch_delay = absl::Hours(1)});
  ASSERT_TRUE(Enqueue(4).ok());
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_THAT(gate_.started(), ElementsAre());
  ASSERT_TRUE(Enqueue(6).ok());
  gate_.Let(1);
  outputs_[1]->Wait();
  EXPECT_THAT(gate_.started(), ElementsAre(ElementsAre(4, 6))) << "a full pass does not wait";
}

TEST_F(BatchSchedulerTest, ALongPassLetsSmallRunsOfOthersByOnItsWay) {
  for (const bool within_a_layer : {false, true}) {
    SCOPED_TRACE(within_a_layer);
    Gate gate;
    (within_a_layer ? gate.steps : gate.layers) = 1;
    Start({}, gate);
    outputs_.clear();
    ASSERT_TRUE(Enqueue(4000, "long").ok());
    gate.WaitForStart(1);
    ASSERT_TRUE(Enqueue(5, "long").ok());
    ASSERT_TRUE(Enqueue(600, "medium").ok());
    ASSERT_TRUE(Enqueue(6, "small").ok());
    gate.Let(2);
    outputs_[3]->Wait();
    gate.Let(2);
    outputs_[1]->Wait();
    outputs_[2]->Wait();
    EXPECT_THAT(gate.started(), UnorderedElementsAre(ElementsAre(4000), ElementsAre(6),
                                                     ElementsAre(5), ElementsAre(600)));
    EXPECT_THAT(gate.started()[1], ElementsAre(6));
    scheduler_.reset();
  }
}

TEST_F(BatchSchedulerTest, APassOfManyClientsLetsNobodyBy) {
  StartBusy({});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Enqueue(40, std::to_string(i)).ok());
  gate_.Let(1);
  gate_.WaitForStart(2);
  gate_.steps = 1;
  ASSERT_TRUE(Enqueue(30, "one more").ok());
  gate_.Let(1);
  gate_.WaitForStart(3);
  EXPECT_TRUE(outputs_[1]->completed());
  EXPECT_EQ(gate_.started()[1].size(), 10u);
}

TEST_F(BatchSchedulerTest, WhoGoesByHasNoMoreTimeThanThePass) {
  gate_.steps = 100;
  // A pass of 20 tokens takes 20 s, and a long one a second between two steps.
  gate_.on_start = [this](uint64_t tokens) {
    if (tokens <= 40) clock_.Advance(absl::Seconds(tokens));
  };
  gate_.on_step = [this](uint64_t tokens) {
    if (tokens > 40) clock_.Advance(absl::Seconds(1));
  };
  Start({});
  ASSERT_TRUE(Enqueue(320, "long").ok());
  gate_.WaitForStart(1);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Enqueue(20, "small").ok());
  gate_.Let(1000);
  for (const auto& output : outputs_) output->Wait();
  // After 0, 40 and 80 of its 100 s two runs at a time, and the others share the next pass.
  ASSERT_EQ(gate_.started().size(), 1u + 3u + 1u);
  EXPECT_EQ(gate_.started()[3].size(), 2u);
  EXPECT_EQ(gate_.started()[4].size(), 14u);
}

TEST_F(BatchSchedulerTest, TellsHowLongARunWaitedAndComputed) {
  StartBusy({});
  ASSERT_TRUE(Enqueue(7).ok());
  clock_.Advance(absl::Seconds(3));
  gate_.Let(1);
  gate_.WaitForStart(2);
  clock_.Advance(absl::Seconds(5));
  gate_.Let(1);
  const RunOutcome& outcome = outputs_[1]->Wait();
  EXPECT_EQ(outcome.queued, absl::Seconds(3));
  EXPECT_EQ(outcome.computed, absl::Seconds(5));
}

TEST_F(BatchSchedulerTest, AFullQueueRefusesAndLeavesTheRunToItsOwner) {
  StartBusy({.max_queue = 2});
  ASSERT_TRUE(Enqueue(1, "alice").ok());
  ASSERT_TRUE(Enqueue(2, "bob").ok());
  auto run = Make(3, "carol");
  const absl::Status status = scheduler_->Enqueue(run).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_THAT(DetailsOf(status).metadata, ElementsAre(Pair("limit", "2")));
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->id, "3");
  EXPECT_FALSE(outputs_[3]->completed());
}

TEST_F(BatchSchedulerTest, OneClientFillsAtMostHalfOfWhatTheOthersLeave) {
  StartBusy({.max_queue = 8});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Enqueue(1, "flood").ok());
  const absl::Status status = Enqueue(1, "flood").status();
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_THAT(DetailsOf(status).metadata, ElementsAre(Pair("limit", "8"), Pair("waiting", "4")));
  for (const char* other : {"a", "b", "c", "d"}) EXPECT_TRUE(Enqueue(1, other).ok());
}

TEST_F(BatchSchedulerTest, CancelFreesAWaitingRunsPlaceAtOnce) {
  StartBusy({.max_queue = 4});
  ASSERT_TRUE(Enqueue(1).ok());
  ASSERT_TRUE(Enqueue(2).ok());
  EXPECT_FALSE(Enqueue(9).ok());
  EXPECT_TRUE(scheduler_->Cancel("1"));
  EXPECT_TRUE(absl::IsCancelled(outputs_[1]->Wait().status));
  EXPECT_TRUE(Enqueue(3).ok());
  gate_.Let(2);
  EXPECT_TRUE(outputs_.back()->Wait().status.ok());
  EXPECT_THAT(gate_.started()[1], ElementsAre(2, 3));
}

TEST_F(BatchSchedulerTest, CancelLeavesARunAloneThatHasStartedOrIsUnknown) {
  StartBusy({});
  EXPECT_FALSE(scheduler_->Cancel("1000"));
  EXPECT_FALSE(scheduler_->Cancel("9"));
  gate_.Let(1);
  EXPECT_TRUE(outputs_[0]->Wait().status.ok());
}

TEST_F(BatchSchedulerTest, ARunWhoseDeadlinePassedNeverStarts) {
  StartBusy({});
  auto early = Make(1);
  early->deadline = clock_.Now() + absl::Seconds(1);
  auto late = Make(2);
  late->deadline = clock_.Now() + absl::Seconds(10);
  ASSERT_TRUE(scheduler_->Enqueue(early).ok());
  ASSERT_TRUE(scheduler_->Enqueue(late).ok());
  clock_.Advance(absl::Seconds(2));
  gate_.Let(2);
  EXPECT_TRUE(absl::IsDeadlineExceeded(outputs_[1]->Wait().status));
  EXPECT_TRUE(outputs_[2]->Wait().status.ok());
  EXPECT_THAT(gate_.started(), ElementsAre(ElementsAre(1000), ElementsAre(2)));
}

TEST_F(BatchSchedulerTest, ARunThatWaitedForTooLongIsEnded) {
  StartBusy({.max_queue_time = absl::Seconds(60)});
  ASSERT_TRUE(Enqueue(1).ok());
  clock_.Advance(absl::Seconds(59));
  ASSERT_TRUE(Enqueue(2).ok());
  EXPECT_EQ(scheduler_->LookAtWaiting(clock_.Now()), clock_.Now() + absl::Seconds(1));
  EXPECT_FALSE(outputs_[1]->completed());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(scheduler_->LookAtWaiting(clock_.Now()), clock_.Now() + absl::Seconds(59));
  const absl::Status status = outputs_[1]->Wait().status;
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_QUEUE_TIMEOUT);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_FALSE(outputs_[2]->completed());
}

TEST_F(BatchSchedulerTest, DrainEndsWhatWaitsAndLetsTheRunningOneGoOn) {
  StartBusy({});
  ASSERT_TRUE(Enqueue(1).ok());
  scheduler_->Drain();
  EXPECT_EQ(DetailsOf(outputs_[1]->Wait().status).reason, v1::ERROR_REASON_SHUTTING_DOWN);
  EXPECT_FALSE(outputs_[0]->completed());
  const absl::Status refused = Enqueue(2).status();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_EQ(DetailsOf(refused).reason, v1::ERROR_REASON_SHUTTING_DOWN);
  gate_.Let(1);
  EXPECT_TRUE(outputs_[0]->Wait().status.ok());
}

TEST_F(BatchSchedulerTest, ItsEndCompletesEveryRun) {
  Start({});
  gate_.Let(1000);
  for (uint64_t i = 1; i < 50; ++i) ASSERT_TRUE(Enqueue(i).ok());
  scheduler_.reset();
  for (const auto& output : outputs_) EXPECT_TRUE(output->completed());
}

// Passes that wait for their runs' clients.
class WaitingPassTest : public testing::Test {
 protected:
  static void Execute(absl::Span<const BatchedRun> runs, BatchContext& context) {
    for (size_t i = 0; i < runs.size(); ++i) {
      Emitter emitter(*runs[i].plan, *runs[i].output, context, i);
      absl::Status status = runs[i].output->Emit(0, 0, {}, [&context, i](bool waits) {
        waits ? context.BeginWait(i, BatchContext::WaitFor::kReader) : context.EndWait(i);
      });
      for (const OpPlan& op : runs[i].plan->ops) {
        if (status.ok()) status = emitter.AwaitAnswer(op).status();
      }
      if (status.ok()) status = emitter.Progress(1);
      if (status.ok()) {
        context.Done(i, ExecutionReport{});
      } else {
        context.Done(i, status);
      }
    }
  }

  std::shared_ptr<FakeOutput> StartInteractive(const std::string& id, const std::string& client) {
    auto output = std::make_shared<FakeOutput>();
    auto run = MakeInteractive(id, client, output);
    EXPECT_TRUE(scheduler_.Enqueue(run).ok());
    return output;
  }
  std::shared_ptr<FakeOutput> StartPaced(const std::string& id, const std::string& client) {
    auto output = std::make_shared<FakeOutput>();
    output->fits_buffer = false;
    output->reads_slowly = true;
    auto run = MakeRun(id, client, 1, output);
    EXPECT_TRUE(scheduler_.Enqueue(run).ok());
    return output;
  }
  void ExpectOthersRun() {
    auto output = std::make_shared<FakeOutput>();
    auto plain = MakeRun("plain", "carol", 1, output);
    ASSERT_TRUE(scheduler_.Enqueue(plain).ok());
    EXPECT_TRUE(output->Wait().status.ok());
  }

  WaitingPassTest()
      : WaitingPassTest({.max_interactive = 2, .max_paced = 2, .hook_timeout = absl::Seconds(30)}) {
  }
  explicit WaitingPassTest(BatchScheduler::Options options)
      : scheduler_(std::move(options), Execute, clock_) {}

  FakeClock clock_;
  BatchScheduler scheduler_;
};

TEST(BatchScheduler, TellsNowAndThenThatAPassWaitsForItsReader) {
  FakeClock clock;
  std::atomic<int> waits = 0;
  // Three pieces at once, and three more after a while.
  const auto execute = [&clock](absl::Span<const BatchedRun> runs, BatchContext& context) {
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 3; ++i) {
        const auto waits = [&context](bool begin) {
          begin ? context.BeginWait(0, BatchContext::WaitFor::kReader) : context.EndWait(0);
        };
        EXPECT_TRUE(runs[0].output->Emit(0, 0, {}, waits).ok());
      }
      clock.Advance(absl::Milliseconds(20));
    }
    context.Done(0, ExecutionReport{});
  };
  BatchScheduler scheduler(
      {.give_back = [&waits] { ++waits; }, .give_back_interval = absl::Milliseconds(20)}, execute,
      clock);
  for (const bool slow : {true, false}) {
    auto output = std::make_shared<FakeOutput>();
    output->fits_buffer = false;
    output->reads_slowly = slow;
    output->waits_again = true;
    auto run = MakeRun(slow ? "slow" : "quick", "alice", 1, output);
    ASSERT_TRUE(scheduler.Enqueue(run).ok());
    EXPECT_TRUE(output->Wait().status.ok());
    EXPECT_EQ(waits, 2) << "none of a reader that keeps up";
  }
}

TEST(BatchScheduler, GivesMemoryBackOnceNothingHasRunForAWhile) {
  const FakeClock clock;
  std::atomic<int> given_back = 0;
  const auto execute = [](absl::Span<const BatchedRun>, BatchContext& context) {
    context.Done(0, ExecutionReport{});
  };
  BatchScheduler scheduler(
      {.give_back = [&given_back] { ++given_back; }, .idle_time = absl::Milliseconds(1)}, execute,
      clock);
  const auto await = [&given_back](int times) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (given_back < times && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
    absl::SleepFor(absl::Milliseconds(20));
    return given_back.load();
  };
  EXPECT_EQ(await(1), 1) << "what loading has used";
  auto output = std::make_shared<FakeOutput>();
  auto run = MakeRun("a", "alice", 1, output);
  ASSERT_TRUE(scheduler.Enqueue(run).ok());
  EXPECT_TRUE(output->Wait().status.ok());
  EXPECT_EQ(await(2), 2);
}

TEST_F(WaitingPassTest, OthersComputeWhileAPassWaitsForItsClient) {
  const auto waiting = StartInteractive("a", "alice");
  waiting->asked.WaitForNotification();
  ExpectOthersRun();
  const auto other = StartInteractive("b", "bob");
  other->answer.Notify();
  EXPECT_TRUE(other->Wait().status.ok());
  EXPECT_FALSE(waiting->completed());
  waiting->answer.Notify();
  EXPECT_TRUE(waiting->Wait().status.ok());
}

TEST_F(WaitingPassTest, OthersComputeWhilePassesWaitForTheirReaders) {
  const auto one = StartPaced("a", "alice");
  const auto two = StartPaced("b", "bob");
  one->waits_for_reader.WaitForNotification();
  two->waits_for_reader.WaitForNotification();
  ExpectOthersRun();
  const auto interactive = StartInteractive("c", "carol");
  interactive->answer.Notify();
  EXPECT_TRUE(interactive->Wait().status.ok());
  EXPECT_FALSE(one->completed());
  one->has_read.Notify();
  two->has_read.Notify();
  EXPECT_TRUE(one->Wait().status.ok());
  EXPECT_TRUE(two->Wait().status.ok());
}

TEST_F(WaitingPassTest, APassMayWaitForEverWhileNobodyWantsItsPlace) {
  const auto waiting = StartInteractive("a", "alice");
  waiting->asked.WaitForNotification();
  clock_.Advance(absl::Hours(1));
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(waiting->completed());
  waiting->answer.Notify();
  EXPECT_TRUE(waiting->Wait().status.ok());
}

TEST_F(WaitingPassTest, AWantedPlaceIsFreedAfterTheTimeout) {
  const auto first = StartInteractive("a", "alice");
  const auto second = StartInteractive("b", "alice");
  first->asked.WaitForNotification();
  second->asked.WaitForNotification();
  const auto third = StartInteractive("c", "bob");
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(third->asked.HasBeenNotified());
  EXPECT_FALSE(first->completed()) << "not before its time";
  clock_.Advance(absl::Seconds(31));
  third->asked.WaitForNotification();
  third->answer.Notify();
  EXPECT_TRUE(third->Wait().status.ok());
  const auto& ended = first->completed() ? first : second;
  const auto& stayed = first->completed() ? second : first;
  EXPECT_EQ(DetailsOf(ended->Wait().status).reason, v1::ERROR_REASON_HOOK_TIMEOUT);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended->Wait().status));
  EXPECT_FALSE(stayed->completed()) << "one place was wanted";
  stayed->answer.Notify();
}

TEST_F(WaitingPassTest, PlacesAreSharedAmongClients) {
  const auto first = StartInteractive("a", "alice");
  const auto second = StartInteractive("b", "alice");
  first->asked.WaitForNotification();
  second->asked.WaitForNotification();
  const auto third = StartInteractive("c", "alice");
  const auto bobs = StartInteractive("d", "bob");
  first->answer.Notify();
  bobs->asked.WaitForNotification();
  EXPECT_FALSE(third->asked.HasBeenNotified()) << "who holds fewer places comes first";
  for (const auto& output : {second, third, bobs}) output->answer.Notify();
  third->Wait();
}

TEST_F(WaitingPassTest, ARunThatFoundNoRoomForTooLongIsExecutedInAPacedSlot) {
  auto output = std::make_shared<FakeOutput>();
  output->has_room = false;
  auto run = MakeRun("large", "alice", 1, output);
  ASSERT_TRUE(scheduler_.Enqueue(run).ok());
  output->first_asked_for_room.WaitForNotification();
  clock_.Advance(absl::Milliseconds(999));
  scheduler_.LookAtWaiting(clock_.Now());
  ExpectOthersRun();
  EXPECT_FALSE(output->completed());
  clock_.Advance(absl::Milliseconds(1));
  scheduler_.LookAtWaiting(clock_.Now());
  EXPECT_TRUE(output->Wait().status.ok());
  EXPECT_EQ(output->Wait().queued, absl::Seconds(1));
}

TEST_F(WaitingPassTest, ARunThatFoundNoRoomForTooLongClaimsIt) {
  const auto one = StartPaced("a", "alice");
  const auto two = StartPaced("b", "bob");
  one->waits_for_reader.WaitForNotification();
  two->waits_for_reader.WaitForNotification();
  auto output = std::make_shared<FakeOutput>();
  output->has_room = false;
  auto run = MakeRun("large", "carol", 1, output);
  ASSERT_TRUE(scheduler_.Enqueue(run).ok());
  output->first_asked_for_room.WaitForNotification();
  EXPECT_FALSE(output->claimed.HasBeenNotified());
  clock_.Advance(absl::Seconds(1));
  scheduler_.LookAtWaiting(clock_.Now());
  output->claimed.WaitForNotification();
  EXPECT_FALSE(output->completed());
  output->has_room = true;
  scheduler_.RoomCameFree();
  EXPECT_TRUE(output->Wait().status.ok());
  one->has_read.Notify();
  two->has_read.Notify();
}

TEST_F(WaitingPassTest, AClientThatHoldsSlotsIsNotPassedOverForEver) {
  // So that it is not her turn before alice's.
  for (const char* id : {"x", "y"}) {
    const auto earlier = StartInteractive(id, "carol");
    earlier->answer.Notify();
    earlier->Wait();
  }
  const auto first = StartInteractive("a", "alice");
  const auto second = StartInteractive("b", "bob");
  first->asked.WaitForNotification();
  second->asked.WaitForNotification();
  const auto third = StartInteractive("c", "alice");
  clock_.Advance(absl::Milliseconds(1));
  const auto carols = StartInteractive("d", "carol");
  second->answer.Notify();
  carols->asked.WaitForNotification();
  EXPECT_FALSE(third->asked.HasBeenNotified()) << "passed over for a client without a slot";
  const auto daves = StartInteractive("e", "dave");
  clock_.Advance(absl::Seconds(1));
  scheduler_.LookAtWaiting(clock_.Now());
  carols->answer.Notify();
  third->asked.WaitForNotification();
  EXPECT_FALSE(daves->asked.HasBeenNotified()) << "not once more";
  for (const auto& output : {first, third, daves}) output->answer.Notify();
  EXPECT_TRUE(daves->Wait().status.ok());
}

// All passes together work with 10 bytes at most.
class PassMemoryTest : public WaitingPassTest {
 protected:
  PassMemoryTest()
      : WaitingPassTest({.max_activation_bytes = 10, .hook_timeout = absl::Seconds(30)}) {}

  std::shared_ptr<FakeOutput> Start(const std::string& client, uint64_t bytes, bool paced = false) {
    auto output = std::make_shared<FakeOutput>();
    output->fits_buffer = !paced;
    output->reads_slowly = paced;
    return Enqueue(MakeRun(client, client, 1, output), bytes, output);
  }
  std::shared_ptr<FakeOutput> StartInteractive(const std::string& client, uint64_t bytes) {
    auto output = std::make_shared<FakeOutput>();
    return Enqueue(MakeInteractive(client, client, output), bytes, output);
  }

 private:
  std::shared_ptr<FakeOutput> Enqueue(std::unique_ptr<QueuedRun> run, uint64_t bytes,
                                      std::shared_ptr<FakeOutput> output) {
    auto plan = std::make_shared<RunPlan>(*run->plan);
    plan->activation_bytes = bytes;
    run->plan = std::move(plan);
    // Turns in the order of the calls.
    clock_.Advance(absl::Milliseconds(1));
    EXPECT_TRUE(scheduler_.Enqueue(run).ok());
    return output;
  }
};

TEST_F(PassMemoryTest, PassesOfAllLanesStayBelowTheLimitTogether) {
  const auto paced = Start("paced", 5, /*paced=*/true);
  paced->waits_for_reader.WaitForNotification();
  const auto interactive = StartInteractive("interactive", 3);
  interactive->asked.WaitForNotification();
  const auto too_large = Start("large", 3);
  const auto another = StartInteractive("another", 3);
  const auto fits = Start("small", 2);
  EXPECT_TRUE(fits->Wait().status.ok());
  EXPECT_FALSE(too_large->completed());
  EXPECT_FALSE(another->asked.HasBeenNotified());
  another->answer.Notify();
  interactive->answer.Notify();
  EXPECT_TRUE(too_large->Wait().status.ok());
  EXPECT_TRUE(another->Wait().status.ok());
  paced->has_read.Notify();
  EXPECT_TRUE(paced->Wait().status.ok());
}

TEST_F(PassMemoryTest, ALargeRunThatWasPassedOverForTooLongIsNotDelayedAnyMore) {
  const auto paced = Start("paced", 3, /*paced=*/true);
  paced->waits_for_reader.WaitForNotification();
  const auto large = Start("large", 8);
  // Each of these alone fits beside the pass that waits.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Start("small", 3)->Wait().status.ok());
  EXPECT_FALSE(large->completed());
  clock_.Advance(absl::Seconds(1));
  scheduler_.LookAtWaiting(clock_.Now());
  const auto would_delay = Start("would delay", 3);
  const auto would_not = Start("would not", 2);
  EXPECT_TRUE(would_not->Wait().status.ok());
  EXPECT_FALSE(would_delay->completed());
  paced->has_read.Notify();
  EXPECT_TRUE(large->Wait().status.ok());
  EXPECT_TRUE(would_delay->Wait().status.ok());
}

TEST_F(PassMemoryTest, RoomThatWasKeptForACancelledRunIsThereForOthers) {
  const auto paced = Start("paced", 3, /*paced=*/true);
  paced->waits_for_reader.WaitForNotification();
  const auto large = Start("large", 8);
  EXPECT_TRUE(Start("small", 3)->Wait().status.ok());
  clock_.Advance(absl::Seconds(1));
  scheduler_.LookAtWaiting(clock_.Now());
  const auto next = Start("next", 7);
  EXPECT_TRUE(scheduler_.Cancel("large"));
  EXPECT_TRUE(next->Wait().status.ok());
  paced->has_read.Notify();
}

TEST_F(PassMemoryTest, APassThatWaitsForItsClientGivesItsMemoryUpAfterTheTimeout) {
  const auto waiting = StartInteractive("debugger", 6);
  waiting->asked.WaitForNotification();
  const auto large = Start("large", 8);
  EXPECT_TRUE(Start("small", 3)->Wait().status.ok());
  clock_.Advance(absl::Seconds(31));
  scheduler_.LookAtWaiting(clock_.Now());
  EXPECT_TRUE(large->Wait().status.ok());
  const absl::Status ended = waiting->Wait().status;
  EXPECT_EQ(DetailsOf(ended).reason, v1::ERROR_REASON_HOOK_TIMEOUT);
  EXPECT_THAT(std::string(ended.message()), testing::HasSubstr("another run needs its memory"));
}

TEST_F(BatchSchedulerTest, WhatIsExecutedInTheMiddleOfALongPassCountsToo) {
  gate_.steps = 1;
  Start({.max_activation_bytes = 10});
  const auto enqueue = [this](uint64_t tokens, const std::string& client, uint64_t bytes) {
    auto run = Make(tokens, client);
    auto plan = std::make_shared<RunPlan>(*run->plan);
    plan->activation_bytes = bytes;
    run->plan = std::move(plan);
    ASSERT_TRUE(scheduler_->Enqueue(run).ok());
  };
  enqueue(4000, "long", 7);
  gate_.WaitForStart(1);
  enqueue(6, "too large", 4);
  enqueue(7, "small", 3);
  gate_.Let(2);
  outputs_[2]->Wait();
  gate_.WaitForStart(2);
  EXPECT_THAT(gate_.started()[1], ElementsAre(7));
  gate_.Let(1);
  EXPECT_TRUE(outputs_[1]->Wait().status.ok());
}

TEST_F(WaitingPassTest, ADeadlineEndsARunBetweenLayers) {
  auto output = std::make_shared<FakeOutput>();
  auto run = MakeInteractive("a", "alice", output);
  run->deadline = clock_.Now() + absl::Seconds(5);
  ASSERT_TRUE(scheduler_.Enqueue(run).ok());
  output->asked.WaitForNotification();
  clock_.Advance(absl::Seconds(6));
  output->answer.Notify();
  EXPECT_TRUE(absl::IsDeadlineExceeded(output->Wait().status));
}

TEST(BatchScheduler, PassesOnAFailureAndGoesOn) {
  FakeClock clock;
  int calls = 0;
  BatchScheduler scheduler(
      {.max_batch_tokens = 1},
      [&](absl::Span<const BatchedRun>, BatchContext& context) {
        if (++calls == 1) {
          context.Done(0, absl::InternalError("broke"));
        } else {
          context.Done(0, ExecutionReport{});
        }
      },
      clock);
  std::vector<std::shared_ptr<FakeOutput>> outputs;
  for (const char* id : {"a", "b"}) {
    outputs.push_back(std::make_shared<FakeOutput>());
    auto run = MakeRun(id, "alice", 1, outputs.back());
    ASSERT_TRUE(scheduler.Enqueue(run).ok());
  }
  EXPECT_EQ(outputs[0]->Wait().status, absl::InternalError("broke"));
  EXPECT_TRUE(outputs[1]->Wait().status.ok());
}

TEST(BatchScheduler, SetsUpItsThreadsBeforeTheirFirstRun) {
  FakeClock clock;
  thread_local bool set_up = false;
  bool ready = false;
  std::thread::id ran;
  const auto output = std::make_shared<FakeOutput>();
  BatchScheduler scheduler(
      {.on_worker_start = [] { set_up = true; }},
      [&](absl::Span<const BatchedRun>, BatchContext& context) {
        ready = set_up;
        ran = std::this_thread::get_id();
        context.Done(0, ExecutionReport{});
      },
      clock);
  auto run = MakeRun("a", "alice", 1, output);
  ASSERT_TRUE(scheduler.Enqueue(run).ok());
  output->Wait();
  EXPECT_TRUE(ready);
  EXPECT_NE(ran, std::this_thread::get_id());
}

}  // namespace
}  // namespace hookwire::server
