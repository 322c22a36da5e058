// bin/hookwired: says how OpenMP's threads wait, then becomes libexec/hookwired, the daemon itself.
//
// With their default spinning, a pass on a machine with as many compute threads as cores takes
// several times as long when anything else wants a core. Seen on two cores with one more busy
// thread: a pass of 101 ms with 1000 rounds of spinning, of 164 ms with 10000; a toy's of 1 ms,
// with nobody else about, takes 0.1 ms longer. libgomp reads the environment when it is loaded,
// before any code of a program that is linked to it runs: hence a program of its own, which is
// linked to nothing.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

int main(int, char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") == nullptr && std::getenv("OMP_WAIT_POLICY") == nullptr) {
    setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/0);
  }
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string daemon =
      (self.parent_path().parent_path() / "libexec" / "hookwired").lexically_normal().string();
  if (!error) execv(daemon.c_str(), argv);
  std::fprintf(stderr, "hookwired: cannot start %s: %s\n", daemon.c_str(),
               error ? error.message().c_str() : std::strerror(errno));
  return 2;
}
