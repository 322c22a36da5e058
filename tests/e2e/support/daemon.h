// A running hookwired, and what the tests ask of it.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_DAEMON_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_DAEMON_H_

#include <memory>
#include <string>
#include <vector>

#include "hookwire/client.h"
#include "tests/e2e/support/process.h"

namespace hookwire::e2e {

// The trained checkpoint that the repository holds.
std::string ToyCheckpoint();

// argv of a daemon.
std::vector<std::string> HookwiredCommand(const std::vector<std::string>& arguments);

class Daemon {
 public:
  // Starts hookwired on the toy checkpoint and a free port and waits until it is ready. Aborts the
  // test program where it does not get there. `arguments` come after those that say so.
  static std::unique_ptr<Daemon> Start(const std::vector<std::string>& arguments = {});

  Process& process() { return *process_; }
  // "127.0.0.1:port".
  const std::string& address() const { return address_; }
  int port() const { return port_; }
  // A connection of its own.
  std::unique_ptr<client::Client> Connect() const;

 private:
  Daemon(std::unique_ptr<Process> process, std::string address, int port)
      : process_(std::move(process)), address_(std::move(address)), port_(port) {}

  std::unique_ptr<Process> process_;
  std::string address_;
  int port_;
};

// Connects or aborts.
std::unique_ptr<client::Client> Connect(const std::string& address);

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_DAEMON_H_
