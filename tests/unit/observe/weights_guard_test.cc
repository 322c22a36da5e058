#include "server/observe/weights_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

const model::FileChange kChange = {"/secret/place/model.safetensors", "size 10 → 5 bytes"};

TEST(WeightsGuard, SaysWhichFileHasChangedAndHow) {
  WeightsGuard guard([] { return kChange; });
  const absl::Status status = guard.Check();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("(model.safetensors: size 10 → 5 bytes)"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, v1::ERROR_REASON_WEIGHTS_CHANGED);
  EXPECT_THAT(details.metadata,
              ElementsAre(Pair("change", "size 10 → 5 bytes"), Pair("file", "model.safetensors")));
  EXPECT_EQ(guard.change()->path, kChange.path);
}

TEST(WeightsGuard, WhatHasChangedStaysChanged) {
  std::optional<model::FileChange> change;
  WeightsGuard guard([&] { return change; });
  EXPECT_TRUE(guard.Check().ok());
  EXPECT_FALSE(guard.change().has_value());
  change = kChange;
  EXPECT_TRUE(guard.status().ok()) << "it has not looked again";
  EXPECT_FALSE(guard.Check().ok());
  change.reset();
  EXPECT_FALSE(guard.Check().ok());
  EXPECT_EQ(guard.status(), guard.Check());
  EXPECT_TRUE(guard.change().has_value());
}

TEST(WeightsWatch, TellsOnce) {
  std::atomic<bool> changed = false;
  WeightsGuard guard([&] { return changed ? std::optional(kChange) : std::nullopt; });
  std::atomic<int> told = 0;
  absl::Notification first;
  const WeightsWatch watch(guard, absl::Milliseconds(1), [&](const model::FileChange& change) {
    EXPECT_EQ(change.path, kChange.path);
    if (++told == 1) first.Notify();
  });
  EXPECT_FALSE(first.HasBeenNotified());
  changed = true;
  EXPECT_TRUE(first.WaitForNotificationWithTimeout(absl::Seconds(30)));
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(told, 1);
}

TEST(WeightsWatch, TellsWhatAnotherHasFound) {
  WeightsGuard guard([] { return kChange; });
  guard.Check().IgnoreError();
  absl::Notification told;
  const WeightsWatch watch(guard, absl::Hours(1), [&](const auto&) { told.Notify(); });
  EXPECT_TRUE(told.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

TEST(WeightsWatch, EndsAtOnceWhereNothingChanges) {
  WeightsGuard guard([] { return std::nullopt; });
  const WeightsWatch watch(guard, absl::Hours(1), [](const auto&) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace hookwire::server
