// Outputs of runs that a test looks at.
#ifndef HOOKWIRE_TESTS_UNIT_SCHEDULE_FAKE_OUTPUT_H_
#define HOOKWIRE_TESTS_UNIT_SCHEDULE_FAKE_OUTPUT_H_

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "server/schedule/scheduler.h"

namespace hookwire::server {

// Takes everything, answers nothing before the test says so, and keeps the outcome.
class FakeOutput final : public RunOutput {
 public:
  bool FitsBuffer() const override { return fits_buffer; }
  bool Reserve(bool claim) override {
    if (asked_for_room++ == 0) first_asked_for_room.Notify();
    if (claim && !std::exchange(claims_, true)) claimed.Notify();
    return has_room;
  }
  absl::Status Emit(uint32_t, uint64_t, at::Tensor, absl::FunctionRef<void(bool)> waits) override {
    if (!reads_slowly) return absl::OkStatus();
    waits(true);
    if (!waits_again) {
      waits_for_reader.Notify();
      has_read.WaitForNotification();
    }
    waits(false);
    return absl::OkStatus();
  }
  absl::Status Progress(int) override { return absl::OkStatus(); }
  absl::Status status() const override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan&, absl::FunctionRef<absl::Status()> keep_waiting) override {
    asked.Notify();
    while (!answer.WaitForNotificationWithTimeout(absl::Milliseconds(1))) {
      if (absl::Status status = keep_waiting(); !status.ok()) return status;
    }
    return std::vector<at::Tensor>();
  }
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

  bool fits_buffer = true;
  std::atomic<bool> has_room = true;
  std::atomic<int> asked_for_room = 0;
  absl::Notification first_asked_for_room;
  // Room that comes free was to be kept for it.
  absl::Notification claimed;
  bool reads_slowly = false;
  // Each time, and for no time.
  bool waits_again = false;
  absl::Notification waits_for_reader, has_read;
  absl::Notification asked, answer;

 private:
  // Under the scheduler's mutex.
  bool claims_ = false;
  RunOutcome outcome_;
  absl::Notification completed_;
};

// A run of `tokens` tokens whose id and only capture say nothing.
inline std::unique_ptr<QueuedRun> MakeRun(const std::string& id, const std::string& client,
                                          uint64_t tokens, std::shared_ptr<RunOutput> output) {
  auto plan = std::make_shared<RunPlan>();
  plan->total_tokens = tokens;
  plan->sequences = {std::vector<int64_t>(tokens, 1)};
  auto run = std::make_unique<QueuedRun>();
  run->id = id;
  run->client = client;
  run->plan = std::move(plan);
  run->output = std::move(output);
  return run;
}

// One whose pass waits for its client.
inline std::unique_ptr<QueuedRun> MakeInteractive(const std::string& id, const std::string& client,
                                                  std::shared_ptr<RunOutput> output) {
  auto plan = std::make_shared<RunPlan>();
  OpPlan op;
  op.kind = OpKind::kCallback;
  op.tensors.emplace_back();
  plan->ops.push_back(op);
  auto run = MakeRun(id, client, 1, std::move(output));
  run->plan = std::move(plan);
  return run;
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_SCHEDULE_FAKE_OUTPUT_H_
