// The activation memory of all passes that have begun, kept below one limit.
#ifndef HOOKWIRE_SERVER_SCHEDULE_PASS_MEMORY_H_
#define HOOKWIRE_SERVER_SCHEDULE_PASS_MEMORY_H_

#include <cstdint>
#include <string>

namespace hookwire::server {

// A run that is too large for what is left waits. Where it has waited for too long the scheduler
// makes a claim for it: from then on a run begins only if the claimed bytes still fit beside all
// runs that have begun since the claim. So the claimant begins as soon as the runs that were there
// before it have ended, and what begins meanwhile cannot delay it (backfilling, as in Mu'alem and
// Feitelson, IEEE TPDS 2001).
//
// Example: limit 10, and runs of 3 + 3 are there when a run of 8 makes its claim. A run of 2 may
// begin (2 + 8 fit), one of 3 may not.
//
// Not thread-safe.
class PassMemory {
 public:
  // In bytes; 0 means no limit.
  explicit PassMemory(uint64_t limit) : limit_(limit) {}

  // What a run has been admitted with.
  struct Grant {
    uint64_t bytes = 0;
    // The claim that stood then; 0: none.
    uint64_t claim = 0;
    // The run has been asked to end for the claimant's sake.
    bool leaving = false;
  };

  // Whether the run may begin now. Any run may while none has begun.
  bool Fits(const std::string& run, uint64_t bytes) const {
    if (limit_ == 0) return true;
    if (has_claim() && run != claimant_ && backfilled_ + bytes + claimed_ > limit_) return false;
    return used_ == 0 || used_ + bytes <= limit_;
  }
  // REQUIRES: it fits.
  Grant Admit(const std::string& run, uint64_t bytes) {
    EndClaim(run);
    used_ += bytes;
    if (!has_claim()) return {.bytes = bytes};
    backfilled_ += bytes;
    return {.bytes = bytes, .claim = n_claims_};
  }
  // The run has ended.
  void Return(const Grant& grant) {
    used_ -= grant.bytes;
    if (grant.leaving) leaving_ -= grant.bytes;
    if (has_claim() && grant.claim == n_claims_) backfilled_ -= grant.bytes;
  }

  // Keeps `bytes` for this run until it is admitted or EndClaim. REQUIRES: there is no claim.
  void Claim(const std::string& run, uint64_t bytes) {
    claimant_ = run;
    claimed_ = bytes;
    backfilled_ = 0;
    ++n_claims_;
  }
  bool has_claim() const { return !claimant_.empty(); }
  // The run does not wait any more. False where it had no claim.
  bool EndClaim(const std::string& run) {
    if (!has_claim() || run != claimant_) return false;
    claimant_.clear();
    return true;
  }

  // Whether the run with this grant, which could end, has to: the claimant would still not fit once
  // those have ended that were told so before. From then on the grant counts as leaving.
  bool MustLeave(Grant& grant) {
    if (!has_claim() || grant.leaving || used_ - leaving_ + claimed_ <= limit_) return false;
    grant.leaving = true;
    leaving_ += grant.bytes;
    return true;
  }

  uint64_t used() const { return used_; }

 private:
  const uint64_t limit_;
  uint64_t used_ = 0;
  uint64_t leaving_ = 0;
  // The id of the run that has the claim; empty: none.
  std::string claimant_;
  uint64_t claimed_ = 0;
  uint64_t n_claims_ = 0;
  // Bytes of the runs that have begun since the claim.
  uint64_t backfilled_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_PASS_MEMORY_H_
