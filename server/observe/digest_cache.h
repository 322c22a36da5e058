// Digests of weight files, stored on disk, so that the next start of a server need not read all
// weights again.
#ifndef HOOKWIRE_SERVER_OBSERVE_DIGEST_CACHE_H_
#define HOOKWIRE_SERVER_OBSERVE_DIGEST_CACHE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "model/checkpoint/mapped_file.h"

namespace hookwire::server {

// A directory with one small file for each list of weight files. A weight file is identified by its
// device, inode, size and modification time. So a file that is overwritten with another of the same
// size, and whose modification time is then reset, is taken for the old one, as by make and rsync.
// Any number of servers may share a directory. Thread-safe.
class DigestCache {
 public:
  // The most digests in a directory; Put deletes the oldest beyond that.
  static constexpr size_t kMaxEntries = 256;

  // $XDG_CACHE_HOME/hookwire/digests, ~/.cache where that is not set, or "" where there is no home
  // either.
  static std::string DefaultDirectory();

  // With `directory` "", nothing is stored and nothing found.
  explicit DigestCache(std::string directory);

  // The digest of these files, in this order. Nothing where it is not stored, or where the entry is
  // damaged or could have been written by another user.
  std::optional<std::string> Find(absl::Span<const model::FileStamp> files) const;

  // Stores the digest, readable for this user alone. Stores nothing, without an error, where the
  // directory cannot be written, or where one of the files was written less than 2 s ago: a further
  // write could then leave its modification time as it is.
  void Put(absl::Span<const model::FileStamp> files, const std::string& digest) const;

 private:
  void RemoveOldest() const;

  const std::string directory_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_DIGEST_CACHE_H_
