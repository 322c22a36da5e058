// Temporary directories. Header-only.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_TEMP_DIRECTORY_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_TEMP_DIRECTORY_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace hookwire::testing {

// A new directory, which the destructor removes with everything in it.
class TempDirectory {
 public:
  TempDirectory() {
    path_ = (std::filesystem::temp_directory_path() / "hookwire-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
  }
  ~TempDirectory() { Remove(); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }

  // Writes a file, and returns its path.
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::string path = path_ + "/" + name;
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
    return path;
  }

  // Removes it now: for a process that ends without running the destructor.
  void Remove() const {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

 private:
  std::string path_;
};

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_TEMP_DIRECTORY_H_
