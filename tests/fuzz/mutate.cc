#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace hookwire::fuzz {
namespace {

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
  return bytes + static_cast<char>(value);
}

std::optional<uint64_t> ReadVarint(const std::string& bytes, size_t& at) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[at++]);
    value |= uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// One field of a message: its tag, and what follows it without the length.
struct Field {
  uint64_t tag;
  std::string payload;

  bool IsDelimited() const { return (tag & 7U) == 2; }
  std::string Encode() const {
    return Varint(tag) + (IsDelimited() ? Varint(payload.size()) : "") + payload;
  }
};

std::string Encode(const std::vector<Field>& fields) {
  std::string message;
  for (const Field& field : fields) message += field.Encode();
  return message;
}

// Absent where the bytes are no message.
std::optional<std::vector<Field>> Decode(const std::string& message) {
  std::vector<Field> fields;
  size_t at = 0;
  while (at < message.size()) {
    const auto tag = ReadVarint(message, at);
    if (!tag || *tag >> 3U == 0) return std::nullopt;
    size_t begin = at;
    switch (*tag & 7U) {
      case 0:
        if (!ReadVarint(message, at)) return std::nullopt;
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const auto length = ReadVarint(message, at);
        if (!length || *length > message.size() - at) return std::nullopt;
        begin = at;
        at += *length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return std::nullopt;
    }
    if (at > message.size()) return std::nullopt;
    fields.push_back({*tag, message.substr(begin, at - begin)});
  }
  return fields;
}

constexpr uint64_t kExtremes[] = {0,          1,           0x7F,        0x80,        0x7FFFFFFF,
                                  0x80000000, 0xFFFFFFFFU, 1ULL << 32U, ~0ULL >> 1U, ~0ULL};

uint64_t Extreme(Random& random) { return kExtremes[Below(random, std::size(kExtremes))]; }

// Spoils the payload itself; deeper where it is a message, too.
void MutatePayload(Field& field, Random& random) {
  if (!field.IsDelimited()) {
    field = {field.tag & ~7ULL, Varint(Extreme(random))};
  } else if (!field.payload.empty() && Decode(field.payload) && Below(random, 4) != 0) {
    field.payload = MutateFields(field.payload, random);
  } else {
    field.payload = MutateBytes(std::move(field.payload), random);
  }
}

}  // namespace

std::string MutateBytes(std::string bytes, Random& random) {
  if (bytes.empty()) return std::string(1 + Below(random, 4), static_cast<char>(random()));
  const size_t at = Below(random, bytes.size());
  const size_t length = 1 + Below(random, std::min<size_t>(bytes.size() - at, 32));
  switch (Below(random, 6)) {
    case 0:
      for (size_t n = 1 + Below(random, 8); n > 0; --n) {
        bytes[Below(random, bytes.size())] ^= static_cast<char>(1U << Below(random, 8));
      }
      return bytes;
    case 1:
      return bytes.substr(0, at);
    case 2:
      return bytes.insert(Below(random, bytes.size()), bytes.substr(at, length));
    case 3:
      return bytes.erase(at, length);
    case 4: {
      const std::string piece = bytes.substr(at, length);
      bytes.erase(at, length);
      return bytes.insert(Below(random, bytes.size() + 1), piece);
    }
    default:
      return bytes.replace(at, length, Varint(Extreme(random)));
  }
}

std::string MutateFields(const std::string& message, Random& random) {
  std::optional<std::vector<Field>> decoded = Decode(message);
  if (!decoded || decoded->empty()) return MutateBytes(message, random);
  std::vector<Field>& fields = *decoded;
  const auto at = static_cast<std::ptrdiff_t>(Below(random, fields.size()));
  Field& field = fields[static_cast<size_t>(at)];
  switch (Below(random, 8)) {
    case 0: {
      const size_t times = 1 + Below(random, 20);
      fields.insert(fields.begin() + at, times, Field(field));
      break;
    }
    case 1:
      fields.erase(fields.begin() + at);
      break;
    case 2:
      std::swap(field, fields[Below(random, fields.size())]);
      break;
    case 3:
      field.tag = (1 + Below(random, 20)) << 3U | (field.tag & 7U);
      break;
    default:
      MutatePayload(field, random);
  }
  return Encode(fields);
}

}  // namespace hookwire::fuzz
