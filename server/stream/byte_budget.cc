#include "server/stream/byte_budget.h"

#include <algorithm>

namespace hookwire::server {

std::shared_ptr<ByteBudget> ByteBudget::Create(uint64_t limit, int paced) {
  return std::shared_ptr<ByteBudget>(new ByteBudget(limit, std::max(1, paced)));
}

std::shared_ptr<ByteBudget::Account> ByteBudget::Open(uint64_t total, std::string client,
                                                      std::shared_ptr<const void> kept) {
  return std::make_shared<Account>(shared_from_this(), total, std::move(client), std::move(kept));
}

void ByteBudget::NotifyRoom(std::function<void()> on_room) {
  absl::MutexLock lock(&on_room_mutex_);
  on_room_ = std::move(on_room);
}

void ByteBudget::RoomCameFree() {
  absl::MutexLock lock(&on_room_mutex_);
  if (on_room_) on_room_();
}

uint64_t ByteBudget::held() const {
  absl::MutexLock lock(&mutex_);
  return held_;
}

uint64_t ByteBudget::peak() const {
  absl::MutexLock lock(&mutex_);
  return peak_;
}

void ByteBudget::Hold(uint64_t bytes) {
  held_ += bytes;
  peak_ = std::max(peak_, held_);
}

void ByteBudget::Shrink(const std::string& client, uint64_t claim, uint64_t bytes) {
  held_ -= bytes;
  reserved_ -= bytes;
  if (claimant_ != nullptr && claim == n_claims_) reserved_since_claim_ -= bytes;
  const auto own = reserved_by_client_.find(client);
  own->second -= bytes;
  if (own->second == 0) reserved_by_client_.erase(own);
}

bool ByteBudget::Account::WouldDelayClaimant() const {
  const Account* const claimant = budget_->claimant_;
  // The claimant needs its own bytes, and as many again for others.
  return claimant != nullptr && claimant != this &&
         budget_->reserved_since_claim_ + total_ + 2 * claimant->total_ > budget_->limit_ / 2;
}

bool ByteBudget::Account::EndClaim() {
  if (budget_->claimant_ != this) return false;
  budget_->claimant_ = nullptr;
  return true;
}

bool ByteBudget::Account::Reserve(bool claim) {
  if (!MayReserve()) return false;
  absl::MutexLock lock(&budget_->mutex_);
  if (has_reservation_ || total_ == 0) return true;
  const auto own = budget_->reserved_by_client_.find(client_);
  const uint64_t had = own == budget_->reserved_by_client_.end() ? 0 : own->second;
  // After this, as much must be free for others as the client has.
  const bool fits = budget_->reserved_ + total_ + had + total_ <= budget_->limit_ / 2;
  if (!fits || WouldDelayClaimant()) {
    if (!claim) {
      EndClaim();
    } else if (had == 0 && budget_->claimant_ == nullptr) {
      budget_->claimant_ = this;
      budget_->reserved_since_claim_ = 0;
      ++budget_->n_claims_;
    }
    return false;
  }
  EndClaim();
  has_reservation_ = true;
  unused_ = total_;
  budget_->reserved_ += total_;
  budget_->reserved_by_client_[client_] += total_;
  if (budget_->claimant_ != nullptr) {
    claim_ = budget_->n_claims_;
    budget_->reserved_since_claim_ += total_;
  }
  budget_->Hold(total_);
  return true;
}

bool ByteBudget::Account::has_reservation() const {
  absl::MutexLock lock(&budget_->mutex_);
  return has_reservation_;
}

void ByteBudget::Account::EndReservation() {
  {
    absl::MutexLock lock(&budget_->mutex_);
    const bool had_claim = EndClaim();
    if (unused_ == 0 && !had_claim) return;
    if (unused_ != 0) budget_->Shrink(client_, claim_, std::exchange(unused_, 0));
  }
  budget_->RoomCameFree();
}

bool ByteBudget::Account::Fits(uint64_t bytes) const {
  if (has_reservation_) return bytes <= unused_;
  return held_ == 0 || held_ + bytes <= budget_->share_;
}

void ByteBudget::Account::Take(uint64_t bytes) {
  held_ += bytes;
  if (has_reservation_) {
    unused_ -= bytes;
  } else {
    budget_->Hold(bytes);
  }
}

std::optional<ByteBudget::Lease> ByteBudget::Account::TryAcquire(uint64_t bytes) {
  absl::MutexLock lock(&budget_->mutex_);
  if (!Fits(bytes)) return std::nullopt;
  Take(bytes);
  return Lease(shared_from_this(), bytes);
}

std::optional<ByteBudget::Lease> ByteBudget::Account::Acquire(uint64_t bytes,
                                                              absl::FunctionRef<bool()> given_up) {
  absl::MutexLock lock(&budget_->mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(budget_->mutex_) {
    return given_up() || Fits(bytes);
  };
  budget_->mutex_.Await(absl::Condition(&ready));
  if (given_up()) return std::nullopt;
  Take(bytes);
  return Lease(shared_from_this(), bytes);
}

bool ByteBudget::Account::WaitUntilWithinShare(absl::FunctionRef<bool()> given_up) {
  absl::MutexLock lock(&budget_->mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(budget_->mutex_) {
    return given_up() || held_ <= budget_->share_;
  };
  budget_->mutex_.Await(absl::Condition(&ready));
  return !given_up();
}

bool ByteBudget::Account::IsOverShare() const {
  absl::MutexLock lock(&budget_->mutex_);
  return !has_reservation_ && held_ > budget_->share_;
}

void ByteBudget::Account::Wake() {
  // absl::Mutex evaluates the conditions of waiting threads when it is released.
  absl::MutexLock lock(&budget_->mutex_);
}

uint64_t ByteBudget::Account::held() const {
  absl::MutexLock lock(&budget_->mutex_);
  return held_;
}

void ByteBudget::Account::Release(uint64_t bytes) {
  {
    absl::MutexLock lock(&budget_->mutex_);
    held_ -= bytes;
    if (!has_reservation_) {
      budget_->held_ -= bytes;
      return;
    }
    budget_->Shrink(client_, claim_, bytes);
  }
  budget_->RoomCameFree();
}

void ByteBudget::Lease::Reset() {
  if (account_ != nullptr && bytes_ != 0) account_->Release(bytes_);
  account_ = nullptr;
  bytes_ = 0;
}

}  // namespace hookwire::server
