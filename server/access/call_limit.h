// How many calls one client may have open at a time, of all methods together.
#ifndef HOOKWIRE_SERVER_ACCESS_CALL_LIMIT_H_
#define HOOKWIRE_SERVER_ACCESS_CALL_LIMIT_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/access/principal.h"

namespace hookwire::server {

// Thread-safe. Must outlive the calls that it has admitted.
class CallLimit {
 public:
  // An open call. It is counted until it is destroyed.
  class Call {
   public:
    Call() = default;
    Call(CallLimit& limit, std::string client) : limit_(&limit), client_(std::move(client)) {}
    Call(Call&& other) noexcept
        : limit_(std::exchange(other.limit_, nullptr)), client_(std::move(other.client_)) {}
    Call& operator=(Call&& other) noexcept {
      std::swap(limit_, other.limit_);
      std::swap(client_, other.client_);
      return *this;
    }
    ~Call() {
      if (limit_ != nullptr) limit_->End(client_);
    }

   private:
    CallLimit* limit_ = nullptr;
    std::string client_;
  };

  explicit CallLimit(size_t max_calls) : max_calls_(max_calls) {}

  // ResourceExhausted (TOO_MANY_CALLS) if the client has as many calls as it may have.
  absl::StatusOr<Call> Admit(const Principal& client);

  // The most calls of one client.
  size_t max_calls() const { return max_calls_; }
  // Calls that are open now, of all clients.
  size_t open() const;
  // gRPC's own shutdown does not wait for the callbacks of calls that it has ended.
  void WaitUntilNoneIsOpen() const;

 private:
  void End(const std::string& client);

  const size_t max_calls_;
  mutable absl::Mutex mutex_;
  size_t open_ ABSL_GUARDED_BY(mutex_) = 0;
  // By key; clients without calls have no entry.
  absl::flat_hash_map<std::string, size_t> by_client_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ACCESS_CALL_LIMIT_H_
