#include "model/checkpoint/misplaced_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hookwire::model {
namespace {

// As many bytes are enough to recognise a text.
constexpr size_t kLooked = 512;
// A safetensors file begins with the length of its header in 8 little-endian bytes. It is at most
// 100 MB, so the upper bytes are 0, which no text has.
constexpr size_t kLengthBytes = 8;
constexpr size_t kQuoted = 40;

bool IsText(absl::string_view bytes) {
  return !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), [](char byte) {
    const auto c = static_cast<unsigned char>(byte);
    return c >= 0x20 ? c != 0x7F : absl::ascii_isspace(c);
  });
}

absl::string_view WithoutBom(absl::string_view text) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  return absl::StripLeadingAsciiWhitespace(text);
}

}  // namespace

std::string LfsPointer(absl::string_view bytes) {
  const absl::string_view text = WithoutBom(bytes.substr(0, kLooked));
  if (!absl::StartsWith(text, "version https://git-lfs.github.com/spec/") &&
      !absl::StartsWith(text, "version https://hawser.github.com/spec/")) {
    return "";
  }
  return "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`";
}

std::string MisplacedText(absl::string_view bytes) {
  bytes = bytes.substr(0, kLooked);
  if (std::string pointer = LfsPointer(bytes); !pointer.empty()) return pointer;
  const absl::string_view text = WithoutBom(bytes);
  // Bytes above 0x7F may be UTF-8 in the middle of a text; a file that begins with them is binary.
  const absl::string_view start = text.substr(0, kLengthBytes);
  if (start.size() < kLengthBytes || !IsText(bytes) ||
      !std::all_of(start.begin(), start.end(), absl::ascii_isascii)) {
    return "";
  }
  constexpr absl::string_view kNotWeights = ", not weights: download it again";
  for (const absl::string_view tag : {"<!doctype html", "<html", "<head", "<body"}) {
    if (absl::StartsWithIgnoreCase(text, tag)) {
      return absl::StrCat("a web page (an error or a login, perhaps)", kNotWeights);
    }
  }
  if (absl::StartsWith(text, "<")) return absl::StrCat("XML or HTML", kNotWeights);
  const absl::string_view line = text.substr(0, std::min(text.find('\n'), kQuoted));
  const bool is_ascii = std::all_of(line.begin(), line.end(), absl::ascii_isascii);
  return absl::StrCat(
      "a text",
      is_ascii ? absl::StrCat(" that begins with '", absl::StripAsciiWhitespace(line), "'") : "",
      kNotWeights);
}

}  // namespace hookwire::model
