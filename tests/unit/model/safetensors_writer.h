// Safetensors files with whatever header a test wants.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_SAFETENSORS_WRITER_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace hookwire::testing {

// A safetensors file: `header` as it is, then `data`. `claimed_length` is what the file says of its
// header's length; by default, the truth.
inline std::string SafetensorsBytes(const std::string& header, const std::string& data,
                                    int64_t claimed_length = -1) {
  const uint64_t length =
      claimed_length < 0 ? header.size() : static_cast<uint64_t>(claimed_length);
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

inline std::string Bytes(const std::vector<float>& numbers) {
  return std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_SAFETENSORS_WRITER_H_
