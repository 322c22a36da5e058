// How many bytes of results may wait for slow readers, for the whole server and for each stream.
//
// A run acquires a tensor's bytes before the tensor is queued, and they come back when the
// transport has let go of the memory. So the server's memory is bounded by configuration and never
// by the size of a result.
#ifndef HOOKWIRE_SERVER_STREAM_BYTE_BUDGET_H_
#define HOOKWIRE_SERVER_STREAM_BYTE_BUDGET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe.
class ByteBudget : public std::enable_shared_from_this<ByteBudget> {
 public:
  class Account;

  // Bytes of an account, given back on destruction. Keeps the budget alive.
  class Lease {
   public:
    Lease(std::shared_ptr<Account> account, uint64_t bytes)
        : account_(std::move(account)), bytes_(bytes) {}
    ~Lease() { Reset(); }
    Lease(Lease&& other) noexcept
        : account_(std::move(other.account_)), bytes_(std::exchange(other.bytes_, 0)) {}
    Lease& operator=(Lease&& other) noexcept {
      Reset();
      account_ = std::move(other.account_);
      bytes_ = std::exchange(other.bytes_, 0);
      return *this;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    void Reset();

    std::shared_ptr<Account> account_;
    uint64_t bytes_;
  };

  // At most `limit` bytes in all accounts together.
  static std::shared_ptr<ByteBudget> Create(uint64_t limit);

  // An account for a result of `total` bytes. A result that fits into half of the limit may wait
  // whole, so that its run does not wait for its reader. A larger one has to wait anyway, and gets
  // a quarter. Whatever is larger than that passes alone: an account that holds nothing may take
  // more than its share, and more than the limit while nobody holds anything.
  std::shared_ptr<Account> Open(uint64_t total);

  uint64_t limit() const { return limit_; }
  uint64_t held() const;
  // The most that was ever held at one time.
  uint64_t peak() const;

 private:
  explicit ByteBudget(uint64_t limit) : limit_(limit) {}
  bool Fits(const Account& account, uint64_t bytes) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void Take(Account& account, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint64_t limit_;
  mutable absl::Mutex mutex_;
  uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t peak_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What one stream holds of a budget. Thread-safe.
class ByteBudget::Account : public std::enable_shared_from_this<Account> {
 public:
  Account(std::shared_ptr<ByteBudget> budget, uint64_t share)
      : budget_(std::move(budget)), share_(share) {}

  uint64_t share() const { return share_; }

  // Nothing where the bytes do not fit now.
  std::optional<Lease> TryAcquire(uint64_t bytes);

  // Blocks until the bytes fit; nothing once `given_up` says true. Whatever makes it true calls
  // Wake after that.
  std::optional<Lease> Acquire(uint64_t bytes, absl::FunctionRef<bool()> given_up);

  // Blocks while the account holds more than its share; false once `given_up` says true.
  bool WaitUntilWithinShare(absl::FunctionRef<bool()> given_up);

  // Lets a blocked call look at `given_up` again.
  void Wake();

  uint64_t held() const;

 private:
  friend class ByteBudget;
  friend class Lease;
  void Release(uint64_t bytes);

  const std::shared_ptr<ByteBudget> budget_;
  const uint64_t share_;
  uint64_t held_ = 0;  // guarded by budget_->mutex_
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_BYTE_BUDGET_H_
