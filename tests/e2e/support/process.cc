#include "tests/e2e/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace hookwire::e2e {
namespace {

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

// Whether `fd` becomes readable before `deadline`.
bool WaitReadable(int fd, absl::Time deadline) {
  while (true) {
    const auto left =
        absl::ToInt64Milliseconds(absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
    pollfd poll_fd = {.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = poll(&poll_fd, 1, left < 0 ? 0 : static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) Die("poll");
  }
}

}  // namespace

std::unique_ptr<Process> Process::Start(const std::vector<std::string>& argv) {
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) Die("pipe2");
  const int err = memfd_create("stderr", MFD_CLOEXEC);
  if (err < 0) Die("memfd_create");
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) Die("fork");
  if (pid == 0) {
    // Only async-signal-safe calls between fork and exec.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(out[1], STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(out[1]);
  const int pid_fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pid_fd < 0) Die("pidfd_open");
  return std::unique_ptr<Process>(new Process(pid, pid_fd, out[0], err));
}

Process::~Process() {
  if (!exit_code_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(pid_fd_);
  close(stdout_fd_);
  close(stderr_fd_);
}

void Process::Signal(int signal) const { kill(pid_, signal); }

bool Process::Fill() {
  char bytes[4096];
  const ssize_t count = read(stdout_fd_, bytes, sizeof(bytes));
  if (count <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(count));
  return true;
}

std::optional<std::string> Process::ReadLine(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (!WaitReadable(stdout_fd_, deadline) || !Fill()) return std::nullopt;
  }
}

std::optional<int> Process::Wait(absl::Duration timeout) {
  if (exit_code_) return exit_code_;
  if (!WaitReadable(pid_fd_, absl::Now() + timeout)) return std::nullopt;
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_) Die("waitpid");
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

std::string Process::ReadRest() {
  while (Fill()) {
  }
  return std::exchange(buffer_, {});
}

std::string Process::Errors() const {
  std::string text;
  char bytes[4096];
  ssize_t count;
  while ((count = pread(stderr_fd_, bytes, sizeof(bytes), static_cast<off_t>(text.size()))) > 0) {
    text.append(bytes, static_cast<size_t>(count));
  }
  return text;
}

size_t Process::ResidentBytes() const {
  std::ifstream statm(absl::StrCat("/proc/", pid_, "/statm"));
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace hookwire::e2e
