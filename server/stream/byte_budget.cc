#include "server/stream/byte_budget.h"

#include <algorithm>

namespace hookwire::server {

std::shared_ptr<ByteBudget> ByteBudget::Create(uint64_t limit) {
  return std::shared_ptr<ByteBudget>(new ByteBudget(limit));
}

std::shared_ptr<ByteBudget::Account> ByteBudget::Open(uint64_t total) {
  const uint64_t share = total <= limit_ / 2 ? limit_ / 2 : limit_ / 4;
  return std::make_shared<Account>(shared_from_this(), share);
}

uint64_t ByteBudget::held() const {
  absl::MutexLock lock(&mutex_);
  return held_;
}

uint64_t ByteBudget::peak() const {
  absl::MutexLock lock(&mutex_);
  return peak_;
}

bool ByteBudget::Fits(const Account& account, uint64_t bytes) const {
  const bool in_share = account.held_ == 0 || account.held_ + bytes <= account.share_;
  const bool in_limit = held_ == 0 || held_ + bytes <= limit_;
  return in_share && in_limit;
}

void ByteBudget::Take(Account& account, uint64_t bytes) {
  account.held_ += bytes;
  held_ += bytes;
  peak_ = std::max(peak_, held_);
}

std::optional<ByteBudget::Lease> ByteBudget::Account::TryAcquire(uint64_t bytes) {
  absl::MutexLock lock(&budget_->mutex_);
  if (!budget_->Fits(*this, bytes)) return std::nullopt;
  budget_->Take(*this, bytes);
  return Lease(shared_from_this(), bytes);
}

std::optional<ByteBudget::Lease> ByteBudget::Account::Acquire(uint64_t bytes,
                                                              absl::FunctionRef<bool()> given_up) {
  absl::MutexLock lock(&budget_->mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(budget_->mutex_) {
    return given_up() || budget_->Fits(*this, bytes);
  };
  budget_->mutex_.Await(absl::Condition(&ready));
  if (given_up()) return std::nullopt;
  budget_->Take(*this, bytes);
  return Lease(shared_from_this(), bytes);
}

bool ByteBudget::Account::WaitUntilWithinShare(absl::FunctionRef<bool()> given_up) {
  absl::MutexLock lock(&budget_->mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(budget_->mutex_) {
    return given_up() || held_ <= share_;
  };
  budget_->mutex_.Await(absl::Condition(&ready));
  return !given_up();
}

void ByteBudget::Account::Wake() {
  // Conditions of waiting threads are looked at when the mutex is released.
  absl::MutexLock lock(&budget_->mutex_);
}

uint64_t ByteBudget::Account::held() const {
  absl::MutexLock lock(&budget_->mutex_);
  return held_;
}

void ByteBudget::Account::Release(uint64_t bytes) {
  absl::MutexLock lock(&budget_->mutex_);
  held_ -= bytes;
  budget_->held_ -= bytes;
}

void ByteBudget::Lease::Reset() {
  if (account_ != nullptr && bytes_ != 0) account_->Release(bytes_);
  account_ = nullptr;
  bytes_ = 0;
}

}  // namespace hookwire::server
