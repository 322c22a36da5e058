#include "server/memory/block_cache.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace hookwire::server {
namespace {

// libtorch's own allocator has priority 0.
constexpr uint8_t kPriority = 1;

// Rounds up to the next eighth of a power of two, so that similar sizes can use the same block. At
// most an eighth of a block is unused.
size_t RoundUp(size_t bytes) {
  const size_t step = std::max<size_t>(1, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

void* Map(size_t bytes) {
  void* const data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

}  // namespace

// The blocks that tensors use, with their sizes: a deleter is given only the address.
struct BlockCache::InUse {
  struct Owned {
    BlockCache* cache;
    size_t bytes;
  };

  static InUse& Blocks() {
    static InUse& blocks = *new InUse();
    return blocks;
  }

  absl::Mutex mutex;
  absl::flat_hash_map<const void*, Owned> by_data ABSL_GUARDED_BY(mutex);
};

BlockCache& BlockCache::Global() {
  static BlockCache& cache = *new BlockCache(Options{});
  return cache;
}

void BlockCache::InstallGlobal() {
#if !defined(__SANITIZE_ADDRESS__)
  c10::SetCPUAllocator(&Global(), kPriority);
#endif
}

c10::DataPtr BlockCache::allocate(size_t bytes) {
  c10::Allocator& otherwise = *c10::GetDefaultCPUAllocator();
  if (bytes < options_.min_block_bytes) return otherwise.allocate(bytes);
  const size_t size = RoundUp(bytes);
  void* data = TakeKept(size);
  if (data == nullptr) data = Map(size);
  if (data == nullptr) {
    GiveBack();
    return otherwise.allocate(bytes);
  }
  InUse& in_use = InUse::Blocks();
  const absl::MutexLock lock(&in_use.mutex);
  in_use.by_data[data] = {this, size};
  return {data, data, &Release, c10::Device(c10::kCPU)};
}

void* BlockCache::TakeKept(size_t bytes) {
  const absl::MutexLock lock(&mutex_);
  // The block that was freed last: its bytes may still be in the processor's cache.
  const auto found = std::find_if(kept_.rbegin(), kept_.rend(),
                                  [bytes](const Block& block) { return block.bytes == bytes; });
  if (found == kept_.rend()) return nullptr;
  void* const data = found->data;
  kept_.erase(std::next(found).base());
  kept_bytes_ -= bytes;
  return data;
}

void BlockCache::Release(void* data) {
  InUse& in_use = InUse::Blocks();
  InUse::Owned owned{};
  {
    const absl::MutexLock lock(&in_use.mutex);
    const auto found = in_use.by_data.find(data);
    if (found != in_use.by_data.end()) {
      owned = found->second;
      in_use.by_data.erase(found);
    }
  }
  if (owned.cache != nullptr) {
    owned.cache->Keep({data, owned.bytes});
  } else {
    c10::GetDefaultCPUAllocator()->raw_deallocate(data);
  }
}

void BlockCache::Keep(const Block& block) {
  std::vector<Block> old;
  {
    const absl::MutexLock lock(&mutex_);
    kept_.push_back(block);
    kept_bytes_ += block.bytes;
    while (kept_bytes_ > options_.max_kept_bytes) {
      kept_bytes_ -= kept_.front().bytes;
      old.push_back(kept_.front());
      kept_.pop_front();
    }
  }
  for (const Block& gone : old) munmap(gone.data, gone.bytes);
}

void BlockCache::GiveBack() {
  std::deque<Block> kept;
  {
    const absl::MutexLock lock(&mutex_);
    kept.swap(kept_);
    kept_bytes_ = 0;
  }
  for (const Block& block : kept) munmap(block.data, block.bytes);
}

size_t BlockCache::kept_bytes() const {
  const absl::MutexLock lock(&mutex_);
  return kept_bytes_;
}

}  // namespace hookwire::server
