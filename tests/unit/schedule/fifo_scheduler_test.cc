#include "server/schedule/fifo_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/errors/errors.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

// Keeps what a run was told.
class FakeOutput final : public RunOutput {
 public:
  absl::Status Emit(uint32_t, uint64_t, at::Tensor) override { return absl::OkStatus(); }
  absl::Status Progress(int) override { return absl::OkStatus(); }
  void Complete(RunOutcome outcome) override {
    EXPECT_FALSE(completed_.HasBeenNotified()) << "completed twice";
    outcome_ = std::move(outcome);
    completed_.Notify();
  }

  const RunOutcome& Wait() const {
    completed_.WaitForNotification();
    return outcome_;
  }
  bool completed() const { return completed_.HasBeenNotified(); }

 private:
  RunOutcome outcome_;
  absl::Notification completed_;
};

// An executor that waits in each run until the test lets it go on.
class Gate {
 public:
  absl::StatusOr<ExecutionReport> Pass(const RunPlan& plan) {
    absl::MutexLock lock(&mutex_);
    started_.push_back(plan.total_tokens);
    mutex_.Await(absl::Condition(
        +[](Gate* gate) ABSL_SHARED_LOCKS_REQUIRED(gate->mutex_) { return gate->permits_ > 0; },
        this));
    --permits_;
    return ExecutionReport{.tensors = plan.total_tokens, .bytes = 1, .non_finite = {}};
  }

  void Let(int runs) {
    absl::MutexLock lock(&mutex_);
    permits_ += runs;
  }

  void WaitForStart(size_t runs) {
    absl::MutexLock lock(&mutex_);
    const auto started = [&]()
                             ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return started_.size() >= runs; };
    mutex_.Await(absl::Condition(&started));
  }

  std::vector<uint64_t> started() {
    absl::MutexLock lock(&mutex_);
    return started_;
  }

 private:
  absl::Mutex mutex_;
  int permits_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> started_ ABSL_GUARDED_BY(mutex_);
};

class FifoSchedulerTest : public testing::Test {
 protected:
  ~FifoSchedulerTest() override { gate_.Let(1000); }

  // A run whose plan has `number` tokens.
  std::unique_ptr<QueuedRun> MakeRun(uint64_t number,
                                     absl::Time deadline = absl::InfiniteFuture()) {
    auto plan = std::make_shared<RunPlan>();
    plan->total_tokens = number;
    plan->sequences = {{1, 2, 3}};
    auto run = std::make_unique<QueuedRun>();
    run->id = std::to_string(number);
    run->plan = std::move(plan);
    outputs_.push_back(std::make_shared<FakeOutput>());
    run->output = outputs_.back();
    run->deadline = deadline;
    return run;
  }

  absl::StatusOr<uint32_t> Enqueue(uint64_t number, absl::Time deadline = absl::InfiniteFuture()) {
    auto run = MakeRun(number, deadline);
    return scheduler_.Enqueue(run);
  }

  // Runs number 0, which holds the worker until the gate opens.
  void HoldWorker() {
    ASSERT_TRUE(Enqueue(0).ok());
    gate_.WaitForStart(1);
  }

  Gate gate_;
  FakeClock clock_;
  std::vector<std::shared_ptr<FakeOutput>> outputs_;
  FifoScheduler scheduler_{{.max_queue = 2, .on_worker_start = [] {}},
                           [this](const RunPlan& plan, TensorSink&) { return gate_.Pass(plan); },
                           clock_};
};

TEST_F(FifoSchedulerTest, RunsInOrderOneAtATime) {
  HoldWorker();
  EXPECT_EQ(*Enqueue(1), 1u);
  EXPECT_EQ(*Enqueue(2), 2u) << "one that runs and one that waits are ahead";
  EXPECT_THAT(gate_.started(), testing::ElementsAre(0));
  gate_.Let(3);
  EXPECT_TRUE(outputs_[2]->Wait().status.ok());
  EXPECT_THAT(gate_.started(), testing::ElementsAre(0, 1, 2));
  EXPECT_EQ(outputs_[1]->Wait().report.tensors, 1u);
}

TEST_F(FifoSchedulerTest, TellsHowLongARunWaitedAndComputed) {
  HoldWorker();
  ASSERT_TRUE(Enqueue(7).ok());
  clock_.Advance(absl::Seconds(3));
  gate_.Let(1);
  gate_.WaitForStart(2);
  clock_.Advance(absl::Seconds(5));
  gate_.Let(1);
  const RunOutcome& outcome = outputs_[1]->Wait();
  EXPECT_EQ(outcome.queued, absl::Seconds(3));
  EXPECT_EQ(outcome.computed, absl::Seconds(5));
  EXPECT_EQ(outcome.batch_sequences, 1u);
  EXPECT_EQ(outcome.batch_tokens, 7u);
}

TEST_F(FifoSchedulerTest, AFullQueueRefusesAndLeavesTheRunToItsOwner) {
  HoldWorker();
  ASSERT_TRUE(Enqueue(1).ok());
  ASSERT_TRUE(Enqueue(2).ok());
  auto run = MakeRun(3);
  const absl::Status status = scheduler_.Enqueue(run).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_THAT(DetailsOf(status).metadata, testing::ElementsAre(testing::Pair("limit", "2")));
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->id, "3");
  EXPECT_FALSE(outputs_[3]->completed());
}

TEST_F(FifoSchedulerTest, CancelFreesAWaitingRunsPlaceAtOnce) {
  HoldWorker();
  ASSERT_TRUE(Enqueue(1).ok());
  ASSERT_TRUE(Enqueue(2).ok());
  EXPECT_TRUE(scheduler_.Cancel("1"));
  EXPECT_TRUE(absl::IsCancelled(outputs_[1]->Wait().status));
  EXPECT_TRUE(Enqueue(3).ok());
  gate_.Let(3);
  EXPECT_TRUE(outputs_[3]->Wait().status.ok());
  EXPECT_THAT(gate_.started(), testing::ElementsAre(0, 2, 3));
}

TEST_F(FifoSchedulerTest, CancelLeavesARunAloneThatHasStartedOrIsUnknown) {
  HoldWorker();
  EXPECT_FALSE(scheduler_.Cancel("0"));
  EXPECT_FALSE(scheduler_.Cancel("9"));
  gate_.Let(1);
  EXPECT_TRUE(outputs_[0]->Wait().status.ok());
}

TEST_F(FifoSchedulerTest, ARunWhoseDeadlinePassedNeverStarts) {
  HoldWorker();
  ASSERT_TRUE(Enqueue(1, clock_.Now() + absl::Seconds(1)).ok());
  ASSERT_TRUE(Enqueue(2, clock_.Now() + absl::Seconds(10)).ok());
  clock_.Advance(absl::Seconds(2));
  gate_.Let(2);
  EXPECT_TRUE(absl::IsDeadlineExceeded(outputs_[1]->Wait().status));
  EXPECT_TRUE(outputs_[2]->Wait().status.ok());
  EXPECT_THAT(gate_.started(), testing::ElementsAre(0, 2));
}

TEST_F(FifoSchedulerTest, DrainEndsWhatWaitsAndLetsTheRunningOneGoOn) {
  HoldWorker();
  ASSERT_TRUE(Enqueue(1).ok());
  scheduler_.Drain();
  EXPECT_TRUE(absl::IsUnavailable(outputs_[1]->Wait().status));
  EXPECT_EQ(DetailsOf(outputs_[1]->Wait().status).reason, v1::ERROR_REASON_SHUTTING_DOWN);
  EXPECT_FALSE(outputs_[0]->completed());
  const absl::Status refused = Enqueue(2).status();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_EQ(DetailsOf(refused).reason, v1::ERROR_REASON_SHUTTING_DOWN);
  gate_.Let(1);
  EXPECT_TRUE(outputs_[0]->Wait().status.ok());
}

// A run whose pass waits for its client.
std::unique_ptr<QueuedRun> Interactive(const std::string& id, const std::string& client,
                                       std::shared_ptr<RunOutput> output) {
  auto plan = std::make_shared<RunPlan>();
  OpPlan op;
  op.kind = OpKind::kCallback;
  plan->ops.push_back(op);
  auto run = std::make_unique<QueuedRun>();
  run->id = id;
  run->client = client;
  run->plan = std::move(plan);
  run->output = std::move(output);
  return run;
}

// Answers when the test says so.
class AnsweringOutput final : public RunOutput {
 public:
  absl::Status Emit(uint32_t, uint64_t, at::Tensor) override { return absl::OkStatus(); }
  absl::Status Progress(int) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan&, absl::FunctionRef<absl::Status()> keep_waiting) override {
    asked.Notify();
    while (!answer.WaitForNotificationWithTimeout(absl::Milliseconds(1))) {
      if (absl::Status status = keep_waiting(); !status.ok()) return status;
    }
    return std::vector<at::Tensor>();
  }
  void Complete(RunOutcome outcome) override {
    result = std::move(outcome);
    completed.Notify();
  }

  absl::Notification asked, answer, completed;
  RunOutcome result;
};

class InteractiveTest : public testing::Test {
 protected:
  std::shared_ptr<AnsweringOutput> Start(const std::string& id, const std::string& client) {
    auto output = std::make_shared<AnsweringOutput>();
    auto run = Interactive(id, client, output);
    EXPECT_TRUE(scheduler_.Enqueue(run).ok());
    return output;
  }

  static absl::StatusOr<ExecutionReport> AskOnce(const RunPlan& plan, TensorSink& sink) {
    for (const OpPlan& op : plan.ops) {
      if (auto answers = sink.Await(op); !answers.ok()) return answers.status();
    }
    return ExecutionReport{};
  }

  FakeClock clock_;
  FifoScheduler scheduler_{
      {.max_interactive = 2, .hook_timeout = absl::Seconds(30), .on_worker_start = [] {}},
      AskOnce,
      clock_};
};

TEST_F(InteractiveTest, OthersComputeWhileAPassWaitsForItsClient) {
  const auto waiting = Start("a", "alice");
  waiting->asked.WaitForNotification();
  auto output = std::make_shared<FakeOutput>();
  auto plain = std::make_unique<QueuedRun>();
  plain->id = "plain";
  plain->plan = std::make_shared<RunPlan>();
  plain->output = output;
  ASSERT_TRUE(scheduler_.Enqueue(plain).ok());
  EXPECT_TRUE(output->Wait().status.ok());
  const auto other = Start("b", "bob");
  other->answer.Notify();
  other->completed.WaitForNotification();
  EXPECT_FALSE(waiting->completed.HasBeenNotified());
  waiting->answer.Notify();
  waiting->completed.WaitForNotification();
  EXPECT_TRUE(waiting->result.status.ok());
}

TEST_F(InteractiveTest, APassMayWaitForEverWhileNobodyWantsItsPlace) {
  const auto waiting = Start("a", "alice");
  waiting->asked.WaitForNotification();
  clock_.Advance(absl::Hours(1));
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(waiting->completed.HasBeenNotified());
  waiting->answer.Notify();
  waiting->completed.WaitForNotification();
  EXPECT_TRUE(waiting->result.status.ok());
}

TEST_F(InteractiveTest, AWantedPlaceIsFreedAfterTheTimeout) {
  const auto first = Start("a", "alice");
  const auto second = Start("b", "alice");
  first->asked.WaitForNotification();
  second->asked.WaitForNotification();
  const auto third = Start("c", "bob");
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(third->asked.HasBeenNotified());
  EXPECT_FALSE(first->completed.HasBeenNotified()) << "not before its time";
  clock_.Advance(absl::Seconds(31));
  third->asked.WaitForNotification();
  third->answer.Notify();
  third->completed.WaitForNotification();
  EXPECT_TRUE(third->result.status.ok());
  const bool first_ended = first->completed.HasBeenNotified();
  const auto& ended = first_ended ? first : second;
  const auto& stayed = first_ended ? second : first;
  EXPECT_EQ(DetailsOf(ended->result.status).reason, v1::ERROR_REASON_HOOK_TIMEOUT);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended->result.status));
  EXPECT_FALSE(stayed->completed.HasBeenNotified()) << "one place was wanted";
  stayed->answer.Notify();
}

TEST_F(InteractiveTest, PlacesAreSharedAmongClients) {
  const auto first = Start("a", "alice");
  const auto second = Start("b", "alice");
  first->asked.WaitForNotification();
  second->asked.WaitForNotification();
  const auto third = Start("c", "alice");
  const auto bobs = Start("d", "bob");
  first->answer.Notify();
  bobs->asked.WaitForNotification();
  EXPECT_FALSE(third->asked.HasBeenNotified()) << "who holds fewer places comes first";
  for (const auto& output : {second, third, bobs}) output->answer.Notify();
  third->completed.WaitForNotification();
}

TEST(FifoScheduler, PassesOnAFailureAndGoesOn) {
  FakeClock clock;
  int calls = 0;
  FifoScheduler scheduler(
      {},
      [&](const RunPlan&, TensorSink&) -> absl::StatusOr<ExecutionReport> {
        if (++calls == 1) return absl::InternalError("broke");
        return ExecutionReport{};
      },
      clock);
  std::vector<std::shared_ptr<FakeOutput>> outputs;
  for (const char* id : {"a", "b"}) {
    auto run = std::make_unique<QueuedRun>();
    run->id = id;
    run->plan = std::make_shared<RunPlan>();
    outputs.push_back(std::make_shared<FakeOutput>());
    run->output = outputs.back();
    ASSERT_TRUE(scheduler.Enqueue(run).ok());
  }
  EXPECT_EQ(outputs[0]->Wait().status, absl::InternalError("broke"));
  EXPECT_TRUE(outputs[1]->Wait().status.ok());
}

TEST(FifoScheduler, ItsEndCompletesEveryRun) {
  FakeClock clock;
  std::vector<std::shared_ptr<FakeOutput>> outputs;
  {
    FifoScheduler scheduler(
        {}, [](const RunPlan&, TensorSink&) { return ExecutionReport{}; }, clock);
    for (int i = 0; i < 50; ++i) {
      auto run = std::make_unique<QueuedRun>();
      run->id = std::to_string(i);
      run->plan = std::make_shared<RunPlan>();
      outputs.push_back(std::make_shared<FakeOutput>());
      run->output = outputs.back();
      ASSERT_TRUE(scheduler.Enqueue(run).ok());
    }
  }
  for (const auto& output : outputs) EXPECT_TRUE(output->completed());
}

TEST(FifoScheduler, SetsUpItsThreadsBeforeTheirFirstRun) {
  FakeClock clock;
  thread_local bool set_up = false;
  bool ready = false;
  std::thread::id ran;
  const auto output = std::make_shared<FakeOutput>();
  FifoScheduler scheduler(
      {.max_queue = 1, .on_worker_start = [] { set_up = true; }},
      [&](const RunPlan&, TensorSink&) {
        ready = set_up;
        ran = std::this_thread::get_id();
        return ExecutionReport{};
      },
      clock);
  auto run = std::make_unique<QueuedRun>();
  run->plan = std::make_shared<RunPlan>();
  run->output = output;
  ASSERT_TRUE(scheduler.Enqueue(run).ok());
  output->Wait();
  EXPECT_TRUE(ready);
  EXPECT_NE(ran, std::this_thread::get_id());
}

}  // namespace
}  // namespace hookwire::server
