// An allocator for large tensors on the CPU that keeps freed memory for the next tensor.
//
// The C library returns a large block to the operating system as soon as it is freed, and the
// system clears every page of a block that it hands out. For a tensor that is written once and
// sent, the clearing takes longer than the writing. The layers of a pass, and passes after each
// other, allocate the same few sizes again and again.
#ifndef HOOKWIRE_SERVER_MEMORY_BLOCK_CACHE_H_
#define HOOKWIRE_SERVER_MEMORY_BLOCK_CACHE_H_

#include <c10/core/Allocator.h>

#include <cstddef>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe. Blocks smaller than `Options::min_block_bytes` come from libtorch's default
// allocator. Where the system has no memory left, the cache returns what it keeps and asks the
// default allocator, which throws as it always does if there is still not enough.
class BlockCache final : public c10::Allocator {
 public:
  struct Options {
    size_t min_block_bytes = size_t{1} << 20;
    // The most bytes of free blocks. Beyond that, those that were freed first are returned.
    size_t max_kept_bytes = size_t{64} << 20;
  };

  // The process's own, which is never destroyed: tensors may outlive everything else.
  static BlockCache& Global();
  // Makes the global cache libtorch's allocator for the CPU. Does nothing in a build with
  // AddressSanitizer, which must see every allocation to find accesses beyond its end.
  static void InstallGlobal();

  explicit BlockCache(const Options& options) : options_(options) {}
  // REQUIRES: no block is in use.
  ~BlockCache() override { GiveBack(); }
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // c10::Allocator
  c10::DataPtr allocate(size_t bytes) override;
  c10::DeleterFnPtr raw_deleter() const override { return &Release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  // Returns the free blocks to the operating system.
  void GiveBack();

  size_t kept_bytes() const;

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  struct InUse;

  // A free block of that size; null where there is none.
  void* TakeKept(size_t bytes);
  void Keep(const Block& block);
  // The deleter of every tensor's memory.
  static void Release(void* data);

  const Options options_;
  mutable absl::Mutex mutex_;
  // Free blocks, in the order in which they were freed.
  std::deque<Block> kept_ ABSL_GUARDED_BY(mutex_);
  size_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_MEMORY_BLOCK_CACHE_H_
