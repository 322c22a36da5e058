#include "tests/e2e/support/daemon.h"

#include <cstdlib>
#include <iostream>
#include <regex>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hookwire::e2e {

std::string ToyCheckpoint() { return HOOKWIRE_TOY_PATH; }

std::vector<std::string> HookwiredCommand(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {HOOKWIRED_PATH};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

std::unique_ptr<Daemon> Daemon::Start(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {
      "--model", ToyCheckpoint(),  "--listen", "127.0.0.1:0", "--threads",
      "1",       "--digest-cache", ""};
  all.insert(all.end(), arguments.begin(), arguments.end());
  auto process = Process::Start(HookwiredCommand(all));
  const auto line = process->ReadLine(absl::Seconds(60));
  static const std::regex kReady(R"((127\.0\.0\.1:(\d+)))");
  std::smatch match;
  if (!line || !std::regex_search(*line, match, kReady)) {
    std::cerr << "hookwired is not ready; it printed '" << line.value_or("") << "' and\n"
              << process->Errors();
    std::abort();
  }
  return std::unique_ptr<Daemon>(
      new Daemon(std::move(process), match[1].str(), std::stoi(match[2].str())));
}

std::unique_ptr<client::Client> Daemon::Connect() const {
  auto connected = client::Client::Connect(address_);
  if (!connected.ok()) {
    std::cerr << connected.status() << "\n--- hookwired said\n" << process_->Errors();
    std::abort();
  }
  return *std::move(connected);
}

std::unique_ptr<client::Client> Connect(const std::string& address) {
  auto connected = client::Client::Connect(address);
  if (!connected.ok()) {
    std::cerr << connected.status() << "\n";
    std::abort();
  }
  return *std::move(connected);
}

}  // namespace hookwire::e2e
