// Memory for large tensors on the CPU, kept for the next ones.
//
// The C library gives large blocks back to the system as soon as they are free, and the system
// clears every page of those that it gives out: for a tensor that is written once and sent, that
// takes longer than writing it. Layers of a pass, and passes after each other, ask for the same few
// sizes again and again.
#ifndef HOOKWIRE_SERVER_MEMORY_BLOCK_CACHE_H_
#define HOOKWIRE_SERVER_MEMORY_BLOCK_CACHE_H_

#include <c10/core/Allocator.h>

#include <cstddef>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe. Blocks smaller than `Options::min_block_bytes` are the default allocator's. Where
// the system has no memory left, what is kept is given back before that is said, as libtorch's
// default allocator says it.
class BlockCache final : public c10::Allocator {
 public:
  struct Options {
    size_t min_block_bytes = size_t{1} << 20;
    // In blocks that nobody uses. Beyond that the one that has been free for longest goes.
    size_t max_kept_bytes = size_t{64} << 20;
  };

  // The process's own, which is never destroyed: tensors may outlive everything else.
  static BlockCache& Global();
  // From now on tensors on the CPU lie in the global cache's memory. A build with AddressSanitizer
  // keeps libtorch's allocator: there the sanitizer knows where each block ends.
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

  // Gives the system what nobody uses.
  void GiveBack();

  size_t kept_bytes() const;

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  struct InUse;

  // Null where there is none of that size.
  void* TakeKept(size_t bytes);
  void Keep(const Block& block);
  // What a tensor calls with its memory when it lets go.
  static void Release(void* data);

  const Options options_;
  mutable absl::Mutex mutex_;
  // Nobody uses them; the oldest first.
  std::deque<Block> kept_ ABSL_GUARDED_BY(mutex_);
  size_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_MEMORY_BLOCK_CACHE_H_
