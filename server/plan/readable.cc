#include "server/plan/readable.h"

#include <iterator>

#include "absl/strings/str_format.h"

namespace hookwire::server {

std::string Readable(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double number = static_cast<double>(bytes);
  size_t unit = 0;
  for (; number >= 1024 && unit + 1 < std::size(kUnits); ++unit) number /= 1024;
  return unit == 0 ? absl::StrFormat("%.0f %s", number, kUnits[unit])
                   : absl::StrFormat("%.1f %s", number, kUnits[unit]);
}

}  // namespace hookwire::server
