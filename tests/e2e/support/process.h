// A child process whose output and end a test can wait for.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_PROCESS_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace hookwire::e2e {

class Process {
 public:
  // Starts argv[0] with the arguments after it. It is killed when this process ends, or the Process
  // is destroyed.
  static std::unique_ptr<Process> Start(const std::vector<std::string>& argv);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;

  // The next line of its standard output, without the newline. Absent where the output ends, or no
  // line comes within `timeout`.
  std::optional<std::string> ReadLine(absl::Duration timeout);
  // Its exit code, or 128 + the signal that ended it. Absent where it still runs after `timeout`.
  std::optional<int> Wait(absl::Duration timeout);

  // What it has written to standard output and not been read yet. Call it after Wait.
  std::string ReadRest();
  // All that it has written to standard error so far.
  std::string Errors() const;

  // Resident memory in bytes.
  size_t ResidentBytes() const;

 private:
  Process(pid_t pid, int pid_fd, int stdout_fd, int stderr_fd)
      : pid_(pid), pid_fd_(pid_fd), stdout_fd_(stdout_fd), stderr_fd_(stderr_fd) {}

  // Appends what there is to buffer_; false at the end.
  bool Fill();

  const pid_t pid_;
  const int pid_fd_;
  const int stdout_fd_;
  const int stderr_fd_;
  std::string buffer_;
  std::optional<int> exit_code_;
};

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_PROCESS_H_
