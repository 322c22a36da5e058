#include "server/access/socket_owner.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "os/descriptor.h"

namespace hookwire::server {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// Both addresses in the kernel's form; 0 where they are not of one family.
uint8_t ToKernel(const Endpoint& from, const Endpoint& to, inet_diag_sockid& id) {
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, from.address.c_str(), id.idiag_src) != 1) continue;
    if (inet_pton(family, to.address.c_str(), id.idiag_dst) != 1) return 0;
    return static_cast<uint8_t>(family);
  }
  return 0;
}

bool HasSocket(pid_t process, const std::string& link) {
  const std::string path = absl::StrCat("/proc/", process, "/fd");
  const Directory directory(opendir(path.c_str()));
  if (directory == nullptr) return false;
  while (const dirent* const entry = readdir(directory.get())) {
    std::array<char, 64> target;
    const ssize_t size =
        readlinkat(dirfd(directory.get()), entry->d_name, target.data(), target.size());
    if (size > 0 && std::string_view(target.data(), static_cast<size_t>(size)) == link) return true;
  }
  return false;
}

}  // namespace

std::optional<SocketIdentity> FindSocket(const Endpoint& from, const Endpoint& to) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask = {};
  ask.header.nlmsg_len = sizeof(ask);
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  inet_diag_sockid& id = ask.request.id;
  ask.request.sdiag_family = ToKernel(from, to, id);
  if (ask.request.sdiag_family == 0) return std::nullopt;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = ~uint32_t{0};
  id.idiag_sport = htons(from.port);
  id.idiag_dport = htons(to.port);
  id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

  const os::Descriptor netlink(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink.valid() || send(netlink.get(), &ask, sizeof(ask), 0) != sizeof(ask)) {
    return std::nullopt;
  }
  alignas(nlmsghdr) std::array<char, 4096> answer;
  // The kernel answers within `send`.
  const ssize_t size = recv(netlink.get(), answer.data(), answer.size(), MSG_DONTWAIT);
  if (size < static_cast<ssize_t>(NLMSG_SPACE(sizeof(inet_diag_msg)))) return std::nullopt;
  const auto* const header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) return std::nullopt;
  const auto* const found = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  // A socket that is closing has no owner any more.
  if (found->idiag_inode == 0) return std::nullopt;
  return SocketIdentity{found->idiag_uid, found->idiag_inode};
}

std::optional<pid_t> FindProcess(const SocketIdentity& socket, const std::vector<pid_t>& first) {
  const std::string link = absl::StrCat("socket:[", socket.inode, "]");
  for (const pid_t process : first) {
    if (HasSocket(process, link)) return process;
  }
  const Directory processes(opendir("/proc"));
  if (processes == nullptr) return std::nullopt;
  while (const dirent* const entry = readdir(processes.get())) {
    pid_t process = 0;
    struct stat status = {};
    if (!absl::SimpleAtoi(entry->d_name, &process)) continue;
    // A socket's user is whoever opened it; a process may have given root up since.
    const bool may_have = fstatat(dirfd(processes.get()), entry->d_name, &status, 0) == 0 &&
                          (socket.user == 0 || status.st_uid == socket.user || status.st_uid == 0);
    if (may_have && HasSocket(process, link)) return process;
  }
  return std::nullopt;
}

}  // namespace hookwire::server
