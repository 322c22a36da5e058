// A TCP forwarder between a client and the daemon, so that a test can break the connection as a
// crashed client or a cut cable would: without a word of HTTP/2.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_TCP_PROXY_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_TCP_PROXY_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::e2e {

class TcpProxy {
 public:
  // Listens on a free port of 127.0.0.1 and forwards to `port` there.
  explicit TcpProxy(int port);
  // Cuts, and stops listening.
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  const std::string& address() const { return address_; }
  // Resets every connection. New ones can be made.
  void Cut();

 private:
  // Two sockets whose bytes go from each to the other.
  struct Link {
    int client;
    int server;
    std::thread thread;
  };

  void Accept();
  static void Forward(int client, int server);

  const int target_port_;
  int listener_;
  int stop_fd_;
  std::string address_;
  absl::Mutex mutex_;
  std::vector<Link> links_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

// Connects to 127.0.0.1:port, sends `bytes`, reads until the peer closes or `timeout_ms` has passed
// without a byte; returns what came.
std::string SendBytes(int port, const std::string& bytes, int timeout_ms);

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_TCP_PROXY_H_
