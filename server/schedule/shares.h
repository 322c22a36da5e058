// How the tokens of a batch are divided among clients.
#ifndef HOOKWIRE_SERVER_SCHEDULE_SHARES_H_
#define HOOKWIRE_SERVER_SCHEDULE_SHARES_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace hookwire::server {

// Tokens of a batch, by client. Not thread-safe.
class Shares {
 public:
  // A pass of `small` tokens takes hardly longer than one of a single token.
  explicit Shares(uint64_t small) : small_(small) {}

  // Whether a run of `tokens` may join: no client then has more than `small` tokens and more than
  // kMaxRatio times as many as another. Otherwise the one with few tokens would wait for the other.
  bool Allow(const std::string& client, uint64_t tokens) const {
    const auto own = tokens_.find(client);
    if (own != tokens_.end()) tokens += own->second;
    uint64_t most = tokens;
    uint64_t least = tokens;
    for (const auto& [other, share] : tokens_) {
      if (other == client) continue;
      most = std::max(most, share);
      least = std::min(least, share);
    }
    return most <= std::max(small_, kMaxRatio * least);
  }
  void Add(const std::string& client, uint64_t tokens) {
    uint64_t& share = tokens_[client];
    share += tokens;
    most_ = std::max(most_, share);
  }
  bool Has(const std::string& client) const { return tokens_.contains(client); }
  // The most that one client has.
  uint64_t most() const { return most_; }

 private:
  static constexpr uint64_t kMaxRatio = 2;

  const uint64_t small_;
  absl::flat_hash_map<std::string, uint64_t> tokens_;
  uint64_t most_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_SHARES_H_
