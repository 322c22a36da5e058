#include "tests/e2e/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace hookwire::e2e {
namespace {

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int ConnectTo(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    Die("connect");
  }
  return fd;
}

// Moves what there is; false where either side has ended.
bool Pump(int from, int to) {
  char bytes[65536];
  const ssize_t count = recv(from, bytes, sizeof(bytes), 0);
  if (count <= 0) return false;
  for (ssize_t sent = 0; sent < count;) {
    const ssize_t n = send(to, bytes + sent, static_cast<size_t>(count - sent), MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += n;
  }
  return true;
}

// The next close sends a reset.
void ResetOnClose(int fd) {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

}  // namespace

TcpProxy::TcpProxy(int port)
    : target_port_(port),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      stop_fd_(eventfd(0, EFD_CLOEXEC)) {
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof(address);
  if (listener_ < 0 || stop_fd_ < 0 ||
      bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener_, 16) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    Die("TcpProxy");
  }
  address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

TcpProxy::~TcpProxy() {
  const uint64_t one = 1;
  if (write(stop_fd_, &one, sizeof(one)) != sizeof(one)) Die("write");
  acceptor_.join();
  Cut();
  close(listener_);
  close(stop_fd_);
}

void TcpProxy::Accept() {
  while (true) {
    pollfd fds[] = {{.fd = listener_, .events = POLLIN, .revents = 0},
                    {.fd = stop_fd_, .events = POLLIN, .revents = 0}};
    poll(fds, 2, -1);
    if (fds[1].revents != 0) return;
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const int server = ConnectTo(target_port_);
    const absl::MutexLock lock(&mutex_);
    links_.push_back({client, server, std::thread([=] { Forward(client, server); })});
  }
}

void TcpProxy::Forward(int client, int server) {
  while (true) {
    pollfd fds[] = {{.fd = client, .events = POLLIN, .revents = 0},
                    {.fd = server, .events = POLLIN, .revents = 0}};
    poll(fds, 2, -1);
    if (fds[0].revents != 0 && !Pump(client, server)) return;
    if (fds[1].revents != 0 && !Pump(server, client)) return;
  }
}

void TcpProxy::Cut() {
  const absl::MutexLock lock(&mutex_);
  for (Link& link : links_) {
    ResetOnClose(link.client);
    ResetOnClose(link.server);
    // Ends the forwarder, even one that is blocked in send.
    shutdown(link.client, SHUT_RDWR);
    shutdown(link.server, SHUT_RDWR);
    link.thread.join();
    close(link.client);
    close(link.server);
  }
  links_.clear();
}

std::string SendBytes(int port, const std::string& bytes, int timeout_ms) {
  const int fd = ConnectTo(port);
  send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::string answer;
  while (true) {
    pollfd poll_fd = {.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&poll_fd, 1, timeout_ms) <= 0) break;
    char buffer[4096];
    const ssize_t count = recv(fd, buffer, sizeof(buffer), 0);
    if (count <= 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  close(fd);
  return answer;
}

}  // namespace hookwire::e2e
