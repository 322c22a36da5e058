// Digests of weight files, kept on disk, so that a server that starts again need not read them
// again.
#ifndef HOOKWIRE_SERVER_OBSERVE_DIGEST_CACHE_H_
#define HOOKWIRE_SERVER_OBSERVE_DIGEST_CACHE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "model/checkpoint/mapped_file.h"

namespace hookwire::server {

// A directory with a small file for each list of weight files. Files are told apart by device,
// inode, size and time of the last write, so what is written with that time put back goes unseen
// here, as in make or rsync. Any number of servers may share one. Thread-safe.
class DigestCache {
 public:
  // At most so many are kept; the oldest go first.
  static constexpr size_t kMaxEntries = 256;

  // $XDG_CACHE_HOME/hookwire/digests, ~/.cache where that is not set, or "" where there is no home
  // either.
  static std::string DefaultDirectory();

  // `directory` "" keeps nothing.
  explicit DigestCache(std::string directory);

  // The digest of these files, in this order. Nothing where it is not kept, or where what is there
  // is damaged, or could have been written by another user.
  std::optional<std::string> Find(absl::Span<const model::FileStamp> files) const;

  // Keeps it, readable for this user alone. A directory that cannot be written is no error: nothing
  // is kept then, nor where a file was written so lately that it may be written again without a
  // change of its time.
  void Put(absl::Span<const model::FileStamp> files, const std::string& digest) const;

 private:
  void RemoveOldest() const;

  const std::string directory_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_DIGEST_CACHE_H_
