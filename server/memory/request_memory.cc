#include "server/memory/request_memory.h"

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

absl::Status Full(uint64_t bytes, uint64_t own, uint64_t held, uint64_t limit) {
  // It would fit if nobody, this client included, held anything.
  const bool fits_alone = bytes <= limit / 2;
  return MakeError(
      absl::StrCat("the request needs ", bytes,
                   " bytes of the server's memory for requests, of "
                   "which ",
                   held, " of ", limit, " are held, ", own,
                   " by this client, and one client may hold half of what the others leave: ",
                   fits_alone ? "send it again when other requests have ended"
                              : "send smaller values, or fewer tensors (the server's flag "
                                "--request-memory-mb sets the limit)"),
      {v1::ERROR_REASON_REQUEST_MEMORY_FULL,
       "",
       {{"bytes", absl::StrCat(bytes)},
        {"held", absl::StrCat(held)},
        {"limit", absl::StrCat(limit)}},
       /*retry=*/fits_alone});
}

}  // namespace

uint64_t RequestMemory::held() const {
  const absl::MutexLock lock(&mutex_);
  return held_;
}

absl::Status RequestMemory::Lease::Resize(uint64_t bytes) {
  if (bytes > bytes_) {
    HOOKWIRE_RETURN_IF_ERROR(memory_->Take(client_, bytes - bytes_));
  } else {
    memory_->GiveBack(client_, bytes_ - bytes);
  }
  bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status RequestMemory::Take(const std::string& client, uint64_t bytes) {
  uint64_t own = 0;
  uint64_t held = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = by_client_.find(client);
    if (found != by_client_.end()) own = found->second;
    held = held_;
    // Twice what the client then holds, and what the others hold; `bytes` may be any number.
    const bool fits = bytes <= limit_ && 2 * (own + bytes) + (held - own) <= limit_;
    if (fits) {
      by_client_[client] += bytes;
      held_ += bytes;
      return absl::OkStatus();
    }
  }
  return Full(bytes, own, held, limit_);
}

void RequestMemory::GiveBack(const std::string& client, uint64_t bytes) {
  if (bytes == 0) return;
  absl::MutexLock lock(&mutex_);
  held_ -= bytes;
  const auto found = by_client_.find(client);
  found->second -= bytes;
  if (found->second == 0) by_client_.erase(found);
}

}  // namespace hookwire::server
