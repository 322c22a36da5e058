#include "server/shutdown.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/signals.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;

// A daemon that notes what it is asked for.
class ShutdownTest : public ::testing::Test {
 protected:
  void Note(const std::string& step) {
    const absl::MutexLock lock(&mutex_);
    steps_.push_back(step);
  }
  std::vector<std::string> steps() {
    const absl::MutexLock lock(&mutex_);
    return steps_;
  }
  // Its waits last until `release` is notified, at most for the time that they are given.
  Shutdown Steps(absl::Notification& release) {
    Shutdown out;
    out.grace_period = absl::InfiniteDuration();
    out.stop_time = absl::InfiniteDuration();
    out.drain = [this] { Note("drain"); };
    out.wait_until_idle = [this, &release](absl::Duration timeout) {
      release.WaitForNotificationWithTimeout(timeout);
      Note("idle");
    };
    out.stop = [this] { Note("stop"); };
    out.destroy = [this] { Note("destroy"); };
    out.end_process = [this, &release] {
      Note("end process");
      release.Notify();
    };
    return out;
  }
  void Run(const Shutdown& shutdown) { ShutDown(shutdown, signals_, logger_); }

  const Signals signals_ = *Signals::Create();
  spdlog::logger logger_{"test"};

 private:
  absl::Mutex mutex_;
  std::vector<std::string> steps_;
};

TEST_F(ShutdownTest, LetsRunsEndByThemselves) {
  absl::Notification idle;
  idle.Notify();
  Run(Steps(idle));
  EXPECT_THAT(steps(), ElementsAre("drain", "idle", "stop", "destroy"));
}

TEST_F(ShutdownTest, StopsWhenTheGracePeriodIsOver) {
  absl::Notification never;
  Shutdown shutdown = Steps(never);
  shutdown.grace_period = absl::Milliseconds(20);
  Run(shutdown);
  EXPECT_THAT(steps(), ElementsAre("drain", "idle", "stop", "destroy"));
}

TEST_F(ShutdownTest, ASecondSignalEndsTheGracePeriod) {
  absl::Notification cancelled;
  Shutdown shutdown = Steps(cancelled);
  shutdown.drain = [this] {
    Note("drain");
    kill(getpid(), SIGTERM);
  };
  shutdown.stop = [this, &cancelled] {
    Note("stop");
    cancelled.Notify();
  };
  Run(shutdown);
  EXPECT_THAT(steps(), ElementsAre("drain", "stop", "idle", "destroy"));
}

TEST_F(ShutdownTest, EndsTheProcessWhenStopTakesTooLong) {
  absl::Notification ended;
  Shutdown shutdown = Steps(ended);
  shutdown.grace_period = absl::ZeroDuration();
  shutdown.stop_time = absl::Milliseconds(20);
  shutdown.stop = [&ended] { ended.WaitForNotification(); };
  Run(shutdown);
  EXPECT_THAT(steps(), ElementsAre("drain", "idle", "end process", "destroy"));
}

TEST_F(ShutdownTest, EndsTheProcessWhenTheDaemonCannotBeFreed) {
  absl::Notification ended;
  Shutdown shutdown = Steps(ended);
  shutdown.grace_period = absl::ZeroDuration();
  shutdown.stop_time = absl::Milliseconds(20);
  shutdown.destroy = [&ended] { ended.WaitForNotification(); };
  Run(shutdown);
  EXPECT_THAT(steps(), ElementsAre("drain", "idle", "stop", "end process"));
}

TEST_F(ShutdownTest, EndsTheProcessAtAThirdSignal) {
  absl::Notification ended;
  Shutdown shutdown = Steps(ended);
  shutdown.grace_period = absl::ZeroDuration();
  shutdown.stop = [this, &ended] {
    Note("stop");
    kill(getpid(), SIGTERM);
    ended.WaitForNotification();
  };
  Run(shutdown);
  EXPECT_THAT(steps(), ElementsAre("drain", "idle", "stop", "end process", "destroy"));
}

}  // namespace
}  // namespace hookwire::server
