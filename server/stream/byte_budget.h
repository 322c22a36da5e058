// Limits the bytes of results that wait for slow readers, for the whole server and for each stream.
//
// A run acquires a tensor's bytes before the tensor is queued, and releases them when the transport
// has freed its memory. So configuration limits the server's memory, whatever the size of a result.
//
// One half of the limit is for results that are buffered whole: their room is reserved before the
// run starts, so that its pass never waits for its reader. How much of it a client may have depends
// on what the others leave (the dynamic thresholds of Choudhury and Hahne, IEEE/ACM Transactions on
// Networking 1998): a reservation must leave as much free as its client then has, so that slow
// readers never take the room of those that come later. The other half is split evenly among the
// passes that wait for their readers.
//
// A large result may find no room for as long as small ones come and go. Where its run has waited
// for too long it claims room: from then on others get a reservation only if the claimed room is
// still there once all that was reserved before the claim has been read.
#ifndef HOOKWIRE_SERVER_STREAM_BYTE_BUDGET_H_
#define HOOKWIRE_SERVER_STREAM_BYTE_BUDGET_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe.
class ByteBudget : public std::enable_shared_from_this<ByteBudget> {
 public:
  class Account;

  // Bytes of an account, released on destruction. Keeps the budget alive.
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

  // At most `limit` bytes in all accounts together, of which `paced`, at least 1, may hold bytes
  // without a reservation. A tensor that is larger than an account's share passes while the account
  // holds nothing: its memory exists already, and counts as memory of its pass.
  static std::shared_ptr<ByteBudget> Create(uint64_t limit, int paced = 1);

  // An account for a result of `total` bytes. `kept` is kept until the result's last bytes have
  // come back and the account is gone: what the run holds besides its payload.
  std::shared_ptr<Account> Open(uint64_t total, std::string client = "",
                                std::shared_ptr<const void> kept = nullptr);

  // `on_room` is called whenever a reservation shrinks, on the thread that frees the memory, which
  // holds no mutex of the budget or of a ResultStream then. It must not call NotifyRoom. Once
  // NotifyRoom(nullptr) has returned, it is not called any more.
  void NotifyRoom(std::function<void()> on_room);

  uint64_t limit() const { return limit_; }
  // Reserved or held.
  uint64_t held() const;
  // The most that was ever held at one time.
  uint64_t peak() const;

 private:
  ByteBudget(uint64_t limit, int paced)
      : limit_(limit), share_(limit / 2 / static_cast<uint64_t>(paced)) {}
  void Hold(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Bytes of the client's reservation, made under `claim`, are not needed, or not any more.
  void Shrink(const std::string& client, uint64_t claim, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RoomCameFree() ABSL_LOCKS_EXCLUDED(mutex_);

  const uint64_t limit_;
  const uint64_t share_;
  // on_room_ takes the scheduler's mutex, under which the scheduler takes this one.
  mutable absl::Mutex mutex_ ABSL_ACQUIRED_AFTER(on_room_mutex_);
  uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t peak_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, uint64_t> reserved_by_client_ ABSL_GUARDED_BY(mutex_);
  // The account that has a claim; null: none.
  const Account* claimant_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint64_t n_claims_ ABSL_GUARDED_BY(mutex_) = 0;
  // What has been reserved since the claim, and not been given back.
  uint64_t reserved_since_claim_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Mutex on_room_mutex_;
  std::function<void()> on_room_ ABSL_GUARDED_BY(on_room_mutex_);
};

// What one stream holds of a budget. Thread-safe.
class ByteBudget::Account : public std::enable_shared_from_this<Account> {
 public:
  Account(std::shared_ptr<ByteBudget> budget, uint64_t total, std::string client,
          std::shared_ptr<const void> kept)
      : budget_(std::move(budget)),
        total_(total),
        client_(std::move(client)),
        kept_(std::move(kept)) {}
  ~Account() { EndReservation(); }

  // Whether a reservation for the whole result is possible at all: it fits the buffer when no other
  // account holds anything.
  bool MayReserve() const { return total_ <= budget_->limit_ / 4; }

  // Reserves room for the whole result, so that all its bytes can be acquired without waiting.
  // Returns false if there is too little room now. With `claim`, a call that returns false also
  // makes a claim: room that comes free is kept for this account. The claim ends with the
  // reservation, with EndReservation, or with a call without `claim`. No claim is made while
  // another account has one, nor while the same client has other reservations: the room comes when
  // these have been read.
  bool Reserve(bool claim = false);
  bool has_reservation() const;
  // Call it when no more bytes will be acquired. Releases the part of the reservation that was not
  // acquired.
  void EndReservation();

  // The most bytes that an account without a reservation may hold, except for a single tensor that
  // is larger (see Create).
  uint64_t share() const { return budget_->share_; }

  // Acquires the bytes if they fit now; returns nullopt if not.
  std::optional<Lease> TryAcquire(uint64_t bytes);

  // Blocks until the bytes fit, and acquires them; or until `given_up` returns true, and returns
  // nullopt. `given_up` is evaluated whenever room comes free, and after Wake: code that changes
  // its result must then call Wake. For example, a stream that fails sets its status, and calls
  // Wake.
  std::optional<Lease> Acquire(uint64_t bytes, absl::FunctionRef<bool()> given_up);

  // Whether the account has no reservation, and holds more than share().
  bool IsOverShare() const;
  // Blocks until IsOverShare() is false, and returns true; or until `given_up` returns true, and
  // returns false.
  bool WaitUntilWithinShare(absl::FunctionRef<bool()> given_up);

  // Makes calls that are blocked in Acquire or WaitUntilWithinShare evaluate `given_up` again.
  void Wake();

  uint64_t held() const;

 private:
  friend class ByteBudget;
  friend class Lease;
  // Whether a reservation for this account would delay the claimant.
  bool WouldDelayClaimant() const ABSL_SHARED_LOCKS_REQUIRED(budget_->mutex_);
  // False where it had no claim.
  bool EndClaim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(budget_->mutex_);
  bool Fits(uint64_t bytes) const ABSL_SHARED_LOCKS_REQUIRED(budget_->mutex_);
  void Take(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(budget_->mutex_);
  void Release(uint64_t bytes);

  const std::shared_ptr<ByteBudget> budget_;
  const uint64_t total_;
  const std::string client_;
  const std::shared_ptr<const void> kept_;
  bool has_reservation_ ABSL_GUARDED_BY(budget_->mutex_) = false;
  // Reserved and not acquired.
  uint64_t unused_ ABSL_GUARDED_BY(budget_->mutex_) = 0;
  uint64_t held_ ABSL_GUARDED_BY(budget_->mutex_) = 0;
  // The claim that stood when the reservation was made.
  uint64_t claim_ ABSL_GUARDED_BY(budget_->mutex_) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_BYTE_BUDGET_H_
