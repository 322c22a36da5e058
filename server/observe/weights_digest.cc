#include "server/observe/weights_digest.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/observe/sha256.h"

namespace hookwire::server {
namespace {

constexpr size_t kBlockBytes = 1u << 20;

std::vector<model::FileStamp> StampsOf(const WeightsDigest::Files& files) {
  std::vector<model::FileStamp> stamps;
  for (const auto& file : files) stamps.push_back(file->stamp());
  return stamps;
}

absl::Status Changed(const model::MappedFile& file, const std::string& what) {
  return absl::FailedPreconditionError(
      absl::StrCat(file.path(), " changed while it was read: ", what));
}

}  // namespace

WeightsDigest::WeightsDigest(Files files, Options options)
    : files_(std::move(files)), options_(std::move(options)), cache_(options_.cache_directory) {
  if (std::optional<std::string> kept = cache_.Find(StampsOf(files_))) {
    absl::MutexLock lock(&mutex_);
    digest_ = *std::move(kept);
    done_ = true;
    return;
  }
  thread_ = std::thread([this] { Compute(); });
}

WeightsDigest::~WeightsDigest() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void WeightsDigest::Compute() {
  // On Linux this lowers the priority of the calling thread alone: passes come first, and on a busy
  // machine the digest still gets some time. It does not matter if it fails.
  setpriority(PRIO_PROCESS, 0, 10);
  absl::StatusOr<std::string> digest = ReadAll();
  if (digest.ok() && std::all_of(files_.begin(), files_.end(), [](const auto& file) {
        const absl::StatusOr<model::FileStamp> now = model::FileStamp::Of(file->fd());
        return now.ok() && *now == file->stamp();
      })) {
    cache_.Put(StampsOf(files_), *digest);
  }
  absl::MutexLock lock(&mutex_);
  digest_ = std::move(digest);
  done_ = true;
}

absl::StatusOr<std::string> WeightsDigest::ReadAll() const {
  Sha256 hash;
  std::string block(kBlockBytes, '\0');
  for (const auto& file : files_) {
    for (uint64_t from = 0; from < file->size();) {
      if (stop_) return absl::CancelledError("the server is shutting down");
      const size_t want = std::min<uint64_t>(block.size(), file->size() - from);
      const ssize_t bytes = options_.read(file->fd(), block.data(), want, static_cast<off_t>(from));
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", file->path()));
      if (bytes == 0) return Changed(*file, "it has become shorter");
      hash.Add({block.data(), static_cast<size_t>(bytes)});
      from += static_cast<uint64_t>(bytes);
    }
    if (const auto change = file->Change()) return Changed(*file, *change);
  }
  return std::move(hash).Finish();
}

std::string WeightsDigest::value() const {
  absl::MutexLock lock(&mutex_);
  return digest_.value_or("pending");
}

absl::Status WeightsDigest::Wait(absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithTimeout(absl::Condition(&done_), timeout)) {
    return absl::DeadlineExceededError("the weights are still being read");
  }
  return digest_.status();
}

}  // namespace hookwire::server
