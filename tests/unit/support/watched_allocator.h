// An allocator for tensors on the CPU that measures how much memory is in use, and that a test can
// make fail. Header-only.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_WATCHED_ALLOCATOR_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_WATCHED_ALLOCATOR_H_

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace hookwire::testing {

// libtorch's CPU allocator from the constructor to the destructor; only one may exist at a time.
// Memory that was allocated through it may outlive it.
class WatchedAllocator final : public c10::Allocator {
 public:
  WatchedAllocator() : real_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, kPriority); }
  ~WatchedAllocator() override { c10::SetCPUAllocator(real_, kPriority); }
  WatchedAllocator(const WatchedAllocator&) = delete;
  WatchedAllocator& operator=(const WatchedAllocator&) = delete;

  c10::DataPtr allocate(size_t bytes) override {
    if (before_allocation) before_allocation(bytes);
    c10::DataPtr memory = real_->allocate(bytes);
    if (memory.get() == nullptr) return memory;
    State& state = GetState();
    const size_t out = state.out += bytes;
    size_t peak = state.peak;
    while (out > peak && !state.peak.compare_exchange_weak(peak, out)) {
    }
    void* const data = memory.get();
    {
      const std::lock_guard lock(state.mutex);
      state.blocks[data] = {bytes, std::move(memory)};
    }
    return {data, data, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* dest, const void* src, std::size_t count) const override {
    default_copy_data(dest, src, count);
  }

  // The most bytes in use at one time since the last Reset, minus the bytes in use at that Reset.
  static size_t Peak() { return GetState().peak - GetState().base; }
  static void Reset() {
    GetState().base = GetState().out.load();
    GetState().peak = GetState().out.load();
  }

  // Called before each allocation; may throw in its place.
  std::function<void(size_t bytes)> before_allocation;

 private:
  static constexpr uint8_t kPriority = 255;

  struct Block {
    size_t bytes;
    c10::DataPtr memory;
  };
  struct State {
    std::atomic<size_t> out = 0;
    std::atomic<size_t> peak = 0;
    std::atomic<size_t> base = 0;
    std::mutex mutex;
    std::unordered_map<void*, Block> blocks;
  };
  static State& GetState() {
    static State& state = *new State();
    return state;
  }
  static void Free(void* data) {
    State& state = GetState();
    Block block;
    {
      const std::lock_guard lock(state.mutex);
      const auto at = state.blocks.find(data);
      block = std::move(at->second);
      state.blocks.erase(at);
    }
    state.out -= block.bytes;
  }

  c10::Allocator* const real_;
};

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_WATCHED_ALLOCATOR_H_
