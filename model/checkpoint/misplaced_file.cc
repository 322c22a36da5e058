#include "model/checkpoint/misplaced_file.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hookwire::model {
namespace {

// As many bytes are enough to recognise a text or a format.
constexpr size_t kLooked = 512;
// A safetensors file begins with the length of its header in 8 little-endian bytes, and the header
// begins with "{". The length is at most 100 MB, so the upper bytes are 0, which no text has.
constexpr size_t kLengthBytes = 8;
constexpr size_t kQuoted = 40;

// With the zeros in them.
template <size_t n>
constexpr absl::string_view Bytes(const char (&literal)[n]) {
  return {literal, n - 1};
}

struct Format {
  // The bytes of the file from `offset` on.
  absl::string_view magic;
  const char* what;
  size_t offset = 0;
};

constexpr Format kArchives[] = {
    {Bytes("PK\x03\x04"), "a zip archive: unpack it"},
    {Bytes("PK\x05\x06"), "a zip archive with nothing in it: download the file again"},
    {Bytes("\x1F\x8B"), "compressed with gzip: decompress it"},
    {Bytes("\x28\xB5\x2F\xFD"), "compressed with zstd: decompress it"},
    {Bytes("\xFD\x37zXZ\0"), "compressed with xz: decompress it"},
    {Bytes("1AY&SY"), "compressed with bzip2: decompress it", 4},
    {Bytes("ustar"), "a tar archive: unpack it", 257},
};

constexpr Format kWeights[] = {
    // torch.save, since PyTorch 1.6.
    {Bytes("PK\x03\x04"),
     "a zip archive, perhaps PyTorch's .pt or .bin format: unpack it, or convert it to "
     "safetensors"},
    // torch.save, before that.
    {Bytes("\x80\x02\x8A\x0A"),
     "a pickle, PyTorch's older .pt or .bin format: convert it to safetensors"},
    // Of protocols 4 and 5.
    {Bytes("\x80\x04\x95"), "a pickle: convert it to safetensors"},
    {Bytes("\x80\x05\x95"), "a pickle: convert it to safetensors"},
    {Bytes("GGUF"), "a GGUF file, the format of llama.cpp: get the safetensors files of the model"},
    {Bytes("\x89HDF\r\n\x1A\n"),
     "an HDF5 file, the format of Keras: get the safetensors files of the model"},
};

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

template <size_t n>
std::string Recognise(const Format (&formats)[n], absl::string_view bytes) {
  for (const Format& format : formats) {
    if (bytes.size() >= format.offset &&
        absl::StartsWith(bytes.substr(format.offset), format.magic)) {
      return format.what;
    }
  }
  return "";
}

std::string LfsPointer(absl::string_view text) {
  if (!absl::StartsWith(text, "version https://git-lfs.github.com/spec/") &&
      !absl::StartsWith(text, "version https://hawser.github.com/spec/")) {
    return "";
  }
  return "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`";
}

// What git-annex puts in place of a file whose content is elsewhere.
std::string AnnexPointer(absl::string_view text) {
  if (!absl::StartsWith(text, "/annex/objects/")) return "";
  return "a git-annex pointer, not the file itself: fetch it with `git annex get`";
}

std::string WebPage(absl::string_view text) {
  for (const absl::string_view tag : {"<!doctype html", "<html", "<head", "<body"}) {
    if (absl::StartsWithIgnoreCase(text, tag)) {
      return "a web page (an error or a login, perhaps), not the file itself: download it again";
    }
  }
  return "";
}

// Whether the file begins as a safetensors file. The first bytes of a length may be any.
bool HasSafetensorsStart(absl::string_view bytes) {
  return bytes.size() > kLengthBytes && bytes.substr(4, 4) == Bytes("\0\0\0\0") &&
         bytes[kLengthBytes] == '{';
}

}  // namespace

std::string MisplacedFile(absl::string_view bytes) {
  bytes = bytes.substr(0, kLooked);
  const absl::string_view text = WithoutBom(bytes);
  std::string what = LfsPointer(text);
  if (what.empty()) what = AnnexPointer(text);
  if (what.empty()) what = WebPage(text);
  if (what.empty()) what = Recognise(kArchives, bytes);
  return what;
}

std::string MisplacedWeights(absl::string_view bytes) {
  bytes = bytes.substr(0, kLooked);
  if (HasSafetensorsStart(bytes)) return "";
  std::string what = Recognise(kWeights, bytes);
  if (what.empty()) what = MisplacedFile(bytes);
  if (!what.empty()) return what;
  if (bytes.size() > kLengthBytes &&
      std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == '\0'; })) {
    return "filled with zeros where its header should be: download it again";
  }
  const absl::string_view text = WithoutBom(bytes);
  // Bytes above 0x7F may be UTF-8 in the middle of a text; a file that begins with them is binary.
  const absl::string_view start = text.substr(0, kLengthBytes);
  if (start.size() < kLengthBytes || !IsText(bytes) ||
      !std::all_of(start.begin(), start.end(), absl::ascii_isascii)) {
    return "";
  }
  constexpr absl::string_view kNotWeights = ", not weights: download it again";
  if (absl::StartsWith(text, "<")) return absl::StrCat("XML or HTML", kNotWeights);
  const absl::string_view line = text.substr(0, std::min(text.find('\n'), kQuoted));
  const bool is_ascii = std::all_of(line.begin(), line.end(), absl::ascii_isascii);
  return absl::StrCat(
      "a text",
      is_ascii ? absl::StrCat(" that begins with '", absl::StripAsciiWhitespace(line), "'") : "",
      kNotWeights);
}

}  // namespace hookwire::model
