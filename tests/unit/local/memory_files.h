// What this process has of segments.
#ifndef HOOKWIRE_TESTS_UNIT_LOCAL_MEMORY_FILES_H_
#define HOOKWIRE_TESTS_UNIT_LOCAL_MEMORY_FILES_H_

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace hookwire::server {

// Descriptors and mappings of memory files that a Segment has made.
inline int CountMemoryFiles() {
  const auto is_ours = [](const std::string& name) {
    return name.find("memfd:hookwire") != std::string::npos;
  };
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    // The directory's own descriptor is gone by now.
    std::error_code gone;
    if (is_ours(std::filesystem::read_symlink(entry.path(), gone).string())) ++count;
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (is_ours(line)) ++count;
  }
  return count;
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_LOCAL_MEMORY_FILES_H_
