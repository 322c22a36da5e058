#include "server/observe/weights_digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace hookwire::server {
namespace {

constexpr size_t kBlockBytes = 1u << 20;

absl::Status AddFile(const std::string& path, const std::atomic<bool>& stop, EVP_MD_CTX* context,
                     std::string& block) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  const absl::Cleanup close_file = [fd] { close(fd); };
  while (true) {
    if (stop) return absl::CancelledError("the server is shutting down");
    const ssize_t bytes = read(fd, block.data(), block.size());
    if (bytes == 0) return absl::OkStatus();
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    if (EVP_DigestUpdate(context, block.data(), static_cast<size_t>(bytes)) != 1) {
      return absl::InternalError("SHA-256 failed");
    }
  }
}

}  // namespace

absl::StatusOr<std::string> Sha256OfFiles(const std::vector<std::string>& files,
                                          const std::atomic<bool>& stop) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("SHA-256 is not available");
  }
  std::string block(kBlockBytes, '\0');
  for (const std::string& path : files) {
    if (absl::Status status = AddFile(path, stop, context.get(), block); !status.ok())
      return status;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) {
    return absl::InternalError("SHA-256 failed");
  }
  return absl::StrCat("sha256:",
                      absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), size}));
}

WeightsDigest::WeightsDigest(std::vector<std::string> files)
    : thread_([this, files = std::move(files)] { Compute(files); }) {}

WeightsDigest::~WeightsDigest() {
  stop_ = true;
  thread_.join();
}

void WeightsDigest::Compute(const std::vector<std::string>& files) {
  // For this thread alone, as Linux has it: passes come first, but on a busy machine the digest
  // gets done too. Where it fails the digest just takes its share.
  setpriority(PRIO_PROCESS, 0, 10);
  absl::StatusOr<std::string> digest = Sha256OfFiles(files, stop_);
  absl::MutexLock lock(&mutex_);
  digest_ = std::move(digest);
  done_ = true;
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
