// bin/hookwired: sets in the environment how long OpenMP's threads spin, then executes
// libexec/hookwired, the daemon.
//
// With OpenMP's default spinning, a pass with as many compute threads as cores takes several times
// as long when another thread needs a core. Measured on two cores with one more busy thread: a pass
// took 101 ms with 1000 rounds of spinning, and 164 ms with 10000; on an idle machine, a 1 ms pass
// of the toy takes 0.1 ms longer with 1000. libgomp reads the environment when it is loaded, before
// any code of a program that is linked with it runs: so this is a program of its own, which is not.

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
