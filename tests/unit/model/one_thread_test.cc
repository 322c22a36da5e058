#include "model/nn/one_thread.h"

// In ThreadSanitizer's build, our own loops are not parallel (HookwireTorch.cmake).
#if !defined(__SANITIZE_THREAD__)
#include <ATen/Parallel.h>

#include <set>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"

namespace hookwire::model {
namespace {

// Of a loop of our own that has two things to do.
size_t ThreadsOfALoop() {
  absl::Mutex mutex;
  std::set<std::thread::id> threads;
  at::parallel_for(0, 2, 1, [&](int64_t /*begin*/, int64_t /*end*/) {
    absl::MutexLock lock(&mutex);
    threads.insert(std::this_thread::get_id());
  });
  return threads.size();
}

TEST(OneThread, IsOneWhileItLives) {
  const int before = at::get_num_threads();
  const absl::Cleanup restore = [before] { at::set_num_threads(before); };
  at::set_num_threads(2);
  // at::parallel_for is compiled here: without OpenMP it would be a plain loop.
  EXPECT_EQ(ThreadsOfALoop(), 2U);
  {
    const OneThread one(true);
    EXPECT_EQ(ThreadsOfALoop(), 1U);
    {
      const OneThread within(true);
      EXPECT_EQ(ThreadsOfALoop(), 1U);
    }
    EXPECT_EQ(ThreadsOfALoop(), 1U);
  }
  EXPECT_EQ(ThreadsOfALoop(), 2U);
  const OneThread unwanted(false);
  EXPECT_EQ(ThreadsOfALoop(), 2U);
}

TEST(OneThread, LeavesAThreadThatIsNewItsNumber) {
  const int before = at::get_num_threads();
  const absl::Cleanup restore = [before] { at::set_num_threads(before); };
  at::set_num_threads(3);
  int within = 0;
  int after = 0;
  std::thread([&] {
    {
      const OneThread one(true);
      within = at::get_num_threads();
    }
    after = at::get_num_threads();
  }).join();
  EXPECT_EQ(within, 1);
  EXPECT_EQ(after, 3);
}

}  // namespace
}  // namespace hookwire::model
#endif
