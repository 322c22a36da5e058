#include "server/memory/block_cache.h"

#include <c10/core/Allocator.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace hookwire::server {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(BlockCache, GivesTheSameMemoryToTheNextOfTheSameSize) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 8 * kMiB});
  c10::DataPtr memory = cache.allocate(3 * kMiB);
  const void* const first = memory.get();
  ASSERT_NE(first, nullptr);
  std::memset(memory.get(), 1, 3 * kMiB);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0U);
  EXPECT_EQ(cache.kept_bytes(), 0U);

  memory.clear();
  EXPECT_EQ(cache.kept_bytes(), 3 * kMiB);
  const c10::DataPtr larger = cache.allocate(4 * kMiB);
  EXPECT_NE(larger.get(), first);
  const c10::DataPtr same = cache.allocate(3 * kMiB - 5);
  EXPECT_EQ(same.get(), first);
  EXPECT_EQ(cache.kept_bytes(), 0U);
}

TEST(BlockCache, KeepsAsMuchAsItMayAndTheNewest) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 4 * kMiB});
  std::vector<c10::DataPtr> memory;
  std::vector<const void*> places;
  for (int i = 0; i < 3; ++i) {
    memory.push_back(cache.allocate(2 * kMiB));
    places.push_back(memory.back().get());
  }
  for (c10::DataPtr& block : memory) block.clear();
  EXPECT_EQ(cache.kept_bytes(), 4 * kMiB);
  const c10::DataPtr newest = cache.allocate(2 * kMiB);
  EXPECT_EQ(newest.get(), places[2]);
  const c10::DataPtr older = cache.allocate(2 * kMiB);
  EXPECT_EQ(older.get(), places[1]);

  cache.allocate(5 * kMiB).clear();
  EXPECT_EQ(cache.kept_bytes(), 0U) << "larger than all that may be kept";
}

TEST(BlockCache, GivesBackWhatNobodyUses) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 8 * kMiB});
  c10::DataPtr used = cache.allocate(kMiB);
  cache.allocate(kMiB).clear();
  EXPECT_EQ(cache.kept_bytes(), kMiB);
  cache.GiveBack();
  EXPECT_EQ(cache.kept_bytes(), 0U);
  std::memset(used.get(), 1, kMiB);
}

TEST(BlockCache, LeavesSmallBlocksToLibtorch) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 8 * kMiB});
  for (const size_t bytes : {size_t{0}, size_t{1}, kMiB - 1}) cache.allocate(bytes).clear();
  EXPECT_EQ(cache.kept_bytes(), 0U);
}

TEST(BlockCache, ServesWhoKeepsNothingButTheAddress) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 8 * kMiB});
  for (const size_t bytes : {size_t{64}, 2 * kMiB}) {
    void* const data = cache.raw_allocate(bytes);
    std::memset(data, 1, bytes);
    cache.raw_deallocate(data);
  }
  EXPECT_EQ(cache.kept_bytes(), 2 * kMiB);
}

TEST(BlockCache, SaysThatTheSystemHasNoMemory) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 8 * kMiB});
  cache.allocate(kMiB).clear();
  try {
    cache.allocate(size_t{1} << 56);
    FAIL() << "64 PiB";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what_without_backtrace(), ::testing::HasSubstr("can't allocate memory"));
  }
  EXPECT_EQ(cache.kept_bytes(), 0U) << "what could be given back was";
}

TEST(BlockCache, NeverGivesMemoryToTwo) {
  BlockCache cache({.min_block_bytes = kMiB, .max_kept_bytes = 4 * kMiB});
  std::vector<std::thread> threads;
  for (uint8_t mine = 0; mine < 4; ++mine) {
    threads.emplace_back([&cache, mine] {
      for (int round = 0; round < 200; ++round) {
        const size_t bytes = kMiB + static_cast<size_t>(round % 3) * kMiB;
        const c10::DataPtr memory = cache.allocate(bytes);
        auto* const data = static_cast<volatile uint8_t*>(memory.get());
        for (size_t i = 0; i < bytes; i += 4096) data[i] = mine;
        for (size_t i = 0; i < bytes; i += 4096) ASSERT_EQ(data[i], mine);
        if (round % 50 == 0) cache.GiveBack();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace hookwire::server
