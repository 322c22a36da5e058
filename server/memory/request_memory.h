// Limits the bytes that requests hold before and while they run, all of them together and for each
// client: their messages, uploaded values, plans, and what the server keeps for each tensor that it
// will send. The payload of results is counted in stream/byte_budget.h.
//
// A request that does not fit is refused; it does not wait. How much a client may have
// depends on what the others leave (the dynamic thresholds of Choudhury and Hahne, IEEE/ACM
// Transactions on Networking 1998): a charge must leave as much free as its client then holds, so
// that a client which comes last finds room. So one client alone may hold half of the limit.
#ifndef HOOKWIRE_SERVER_MEMORY_REQUEST_MEMORY_H_
#define HOOKWIRE_SERVER_MEMORY_REQUEST_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe.
class RequestMemory : public std::enable_shared_from_this<RequestMemory> {
 public:
  // The bytes of one request, released on destruction. Keeps the RequestMemory alive.
  // Thread-compatible.
  class Lease {
   public:
    Lease(std::shared_ptr<RequestMemory> memory, std::string client)
        : memory_(std::move(memory)), client_(std::move(client)) {}
    ~Lease() { memory_->GiveBack(client_, bytes_); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // From now on the request holds `bytes`. Holding less always succeeds. ResourceExhausted
    // (REQUEST_MEMORY_FULL) if more does not fit; the request then holds as much as before.
    absl::Status Resize(uint64_t bytes);
    absl::Status Grow(uint64_t more) { return Resize(bytes_ + more); }
    uint64_t bytes() const { return bytes_; }

   private:
    const std::shared_ptr<RequestMemory> memory_;
    const std::string client_;
    uint64_t bytes_ = 0;
  };

  // At most `limit` bytes at a time.
  static std::shared_ptr<RequestMemory> Create(uint64_t limit) {
    return std::shared_ptr<RequestMemory>(new RequestMemory(limit));
  }

  // A lease of no bytes, for a request of the client with this key (Principal::key).
  std::unique_ptr<Lease> Open(std::string client) {
    return std::make_unique<Lease>(shared_from_this(), std::move(client));
  }

  uint64_t limit() const { return limit_; }
  uint64_t held() const;

 private:
  explicit RequestMemory(uint64_t limit) : limit_(limit) {}
  absl::Status Take(const std::string& client, uint64_t bytes);
  void GiveBack(const std::string& client, uint64_t bytes);

  const uint64_t limit_;
  mutable absl::Mutex mutex_;
  uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  // By client; clients that hold nothing have no entry.
  absl::flat_hash_map<std::string, uint64_t> by_client_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_MEMORY_REQUEST_MEMORY_H_
