#include "server/observe/digest_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/observe/sha256.h"

namespace hookwire::server {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kSuffix = ".digest";
constexpr absl::string_view kPrefix = "sha256:";
constexpr size_t kHexDigits = 64;
constexpr size_t kDigestBytes = kPrefix.size() + kHexDigits;
// The coarsest step of modification times among file systems (FAT's).
constexpr absl::Duration kTimeStep = absl::Seconds(2);

std::string Sha256Of(const std::string& text) {
  Sha256 hash;
  hash.Add(text);
  return std::move(hash).Finish().value_or("");
}

// The first lines of an entry: the files whose digest it is.
std::string HeadOf(absl::Span<const model::FileStamp> files) {
  std::string head = "hookwire digest 1\n";
  for (const model::FileStamp& file : files) {
    absl::StrAppend(&head, file.device, " ", file.inode, " ", file.size, " ",
                    absl::ToUnixNanos(file.modified), "\n");
  }
  return head;
}

// The text of an entry. Its last line is the SHA-256 of the others.
std::string EntryOf(const std::string& head, const std::string& digest) {
  const std::string body = absl::StrCat(head, digest, "\n");
  return absl::StrCat(body, Sha256Of(body), "\n");
}

std::string NameOf(const std::string& head) {
  return absl::StrCat(absl::StripPrefix(Sha256Of(head), kPrefix), kSuffix);
}

bool IsName(const std::string& name) {
  return name.size() == kHexDigits + kSuffix.size() && absl::EndsWith(name, kSuffix) &&
         std::all_of(name.begin(), name.begin() + kHexDigits,
                     [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// Up to `limit` bytes of a regular file that only this user can have written; empty if it is none.
std::string ReadOwn(const std::string& path, size_t limit) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return "";
  const absl::Cleanup close_file = [fd] { close(fd); };
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != geteuid() ||
      (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return "";
  }
  std::string text(limit, '\0');
  const ssize_t bytes = read(fd, text.data(), text.size());
  text.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
  return text;
}

// Writes the file atomically: readers see the old content or the new one. False where it fails.
bool WriteWhole(const std::string& path, const std::string& text) {
  std::string temporary = absl::StrCat(path, ".XXXXXX");
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);  // mode 0600
  if (fd < 0) return false;
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (close(fd) == 0 && written && rename(temporary.c_str(), path.c_str()) == 0) return true;
  unlink(temporary.c_str());
  return false;
}

// Creates the directory and its parents. Existing ones keep their mode.
void MakeDirectory(const fs::path& directory) {
  std::error_code error;
  if (directory.empty() || fs::exists(directory, error)) return;
  MakeDirectory(directory.parent_path());
  mkdir(directory.c_str(), S_IRWXU);
}

}  // namespace

std::string DigestCache::DefaultDirectory() {
  // The XDG base directory specification says that relative paths are to be ignored.
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return absl::StrCat(cache, "/hookwire/digests");
  const char* const home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return absl::StrCat(home, "/.cache/hookwire/digests");
  return "";
}

DigestCache::DigestCache(std::string directory) : directory_(std::move(directory)) {}

std::optional<std::string> DigestCache::Find(absl::Span<const model::FileStamp> files) const {
  if (directory_.empty()) return std::nullopt;
  const std::string head = HeadOf(files);
  const size_t size = head.size() + 2 * (kDigestBytes + 1);
  const std::string entry = ReadOwn(absl::StrCat(directory_, "/", NameOf(head)), size + 1);
  if (entry.size() != size) return std::nullopt;
  std::string digest = entry.substr(head.size(), kDigestBytes);
  if (entry != EntryOf(head, digest)) return std::nullopt;
  return digest;
}

void DigestCache::Put(absl::Span<const model::FileStamp> files, const std::string& digest) const {
  if (directory_.empty()) return;
  const absl::Time settled = absl::Now() - kTimeStep;
  if (std::any_of(files.begin(), files.end(),
                  [settled](const model::FileStamp& file) { return file.modified > settled; })) {
    return;
  }
  const std::string head = HeadOf(files);
  MakeDirectory(directory_);
  if (WriteWhole(absl::StrCat(directory_, "/", NameOf(head)), EntryOf(head, digest))) {
    RemoveOldest();
  }
}

void DigestCache::RemoveOldest() const {
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> entries;
  for (fs::directory_iterator it(directory_, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const fs::file_time_type time = it->last_write_time(gone);
    if (!gone && IsName(it->path().filename())) entries.emplace_back(time, it->path());
  }
  if (entries.size() <= kMaxEntries) return;
  std::sort(entries.begin(), entries.end());
  entries.resize(entries.size() - kMaxEntries);
  for (const auto& [time, path] : entries) fs::remove(path, error);
}

}  // namespace hookwire::server
