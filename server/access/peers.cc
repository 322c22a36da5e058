#include "server/access/peers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace hookwire::server {
namespace {

// How long a port is taken to belong to the same process without asking the kernel again, which
// takes some 20 microseconds. In practice another process gets the port later than that.
constexpr absl::Duration kTrusted = absl::Seconds(1);
// The most connections that are remembered.
constexpr size_t kMaxKnown = 4096;
constexpr size_t kMaxRecent = 16;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string KeyOfProcess(pid_t process) { return absl::StrCat("process:", process); }

}  // namespace

std::optional<Endpoint> ParsePeer(std::string_view peer) {
  absl::string_view rest = View(peer);
  if (!absl::ConsumePrefix(&rest, "ipv4:") && !absl::ConsumePrefix(&rest, "ipv6:")) {
    return std::nullopt;
  }
  const size_t colon = rest.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(rest.substr(colon + 1), &port) ||
      port > 65'535) {
    return std::nullopt;
  }
  // gRPC writes brackets, and a zone's percent sign, as in a URI.
  std::string address = absl::StrReplaceAll(
      rest.substr(0, colon), {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}, {"%25", "%"}});
  constexpr absl::string_view kMapped = "::ffff:";
  if (absl::StartsWithIgnoreCase(address, kMapped) && absl::StrContains(address, '.')) {
    address.erase(0, kMapped.size());
  }
  if (address.empty()) return std::nullopt;
  return Endpoint{std::move(address), static_cast<uint16_t>(port)};
}

bool IsLoopback(std::string_view address) {
  return absl::StartsWith(View(address), "127.") || address == "::1";
}

void Peers::ListenAt(const Endpoint& server) {
  absl::MutexLock lock(&mutex_);
  server_ = server;
}

void Peers::Accepted(int fd, pid_t process, uid_t user) {
  absl::MutexLock lock(&mutex_);
  // Replaces the entry of a closed connection that had this descriptor, so that there are never
  // more entries than open descriptors.
  by_fd_[fd] = process > 0 ? KeyOfProcess(process) : absl::StrCat("user:", user, "@unix");
}

Principal Peers::Of(const std::string& peer) {
  absl::string_view number = peer;
  int fd = -1;
  if (absl::ConsumePrefix(&number, "fd:") && absl::SimpleAtoi(number, &fd)) {
    absl::MutexLock lock(&mutex_);
    const auto found = by_fd_.find(fd);
    if (found != by_fd_.end()) return {found->second, absl::StrCat(found->second, " ", peer)};
  }
  const std::optional<Endpoint> from = ParsePeer(peer);
  if (!from) return {peer, peer};
  const std::string key =
      IsLoopback(from->address) ? KeyOfLocal(peer, *from) : absl::StrCat("address:", from->address);
  return {key, absl::StrCat(key, " ", peer)};
}

std::string Peers::KeyOfLocal(const std::string& peer, const Endpoint& from) {
  const absl::Time now = clock_.Now();
  Endpoint to;
  {
    absl::MutexLock lock(&mutex_);
    const auto known = by_peer_.find(peer);
    if (known != by_peer_.end() && now < known->second.until) return known->second.key;
    to = server_;
  }
  // A server that listens at all addresses is usually reached at the client's own.
  if (!IsLoopback(to.address)) to.address = from.address;
  const std::optional<SocketIdentity> socket = system_.socket(from, to);
  {
    absl::MutexLock lock(&mutex_);
    const auto known = by_peer_.find(peer);
    if (known != by_peer_.end() && socket && known->second.socket &&
        known->second.socket->inode == socket->inode) {
      known->second.until = now + kTrusted;
      return known->second.key;
    }
  }
  std::string key = socket ? KeyOfSocket(*socket, from) : absl::StrCat("address:", from.address);
  absl::MutexLock lock(&mutex_);
  if (by_peer_.size() >= kMaxKnown) by_peer_.clear();
  by_peer_[peer] = {socket, key, now + kTrusted};
  return key;
}

std::string Peers::KeyOfSocket(const SocketIdentity& socket, const Endpoint& from) {
  std::vector<pid_t> first;
  {
    absl::MutexLock lock(&mutex_);
    first = recent_;
  }
  const std::optional<pid_t> process = system_.process(socket, first);
  if (!process) return absl::StrCat("user:", socket.user, "@", from.address);
  absl::MutexLock lock(&mutex_);
  recent_.erase(std::remove(recent_.begin(), recent_.end(), *process), recent_.end());
  recent_.insert(recent_.begin(), *process);
  if (recent_.size() > kMaxRecent) recent_.pop_back();
  return KeyOfProcess(*process);
}

}  // namespace hookwire::server
