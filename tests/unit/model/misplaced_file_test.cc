// What lies in place of a checkpoint's file is called by its name.

#include "model/checkpoint/misplaced_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// As `git clone` without Git LFS leaves it.
constexpr char kPointer[] =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 9540325376\n";

// The error of a checkpoint one of whose files has this content.
std::string ErrorWith(const std::string& file, const std::string& content) {
  hookwire::testing::TinyOptions options;
  if (file == "model.safetensors.index.json") options.shards = 2;
  const hookwire::testing::TinyCheckpoint checkpoint(options);
  std::ofstream(checkpoint.directory() + "/" + file, std::ios::binary) << content;
  const absl::Status status = Checkpoint::Open(checkpoint.directory()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(MisplacedFile, AGitLfsPointerIsCalledSo) {
  for (const char* file : {"model.safetensors", "config.json", "model.safetensors.index.json"}) {
    const std::string error = ErrorWith(file, kPointer);
    EXPECT_THAT(error, HasSubstr(std::string(file) + " is a Git LFS pointer"));
    EXPECT_THAT(error, HasSubstr("git lfs pull"));
  }
}

TEST(MisplacedFile, AGitAnnexPointerIsCalledSo) {
  EXPECT_THAT(ErrorWith("model.safetensors", "/annex/objects/SHA256E-s12345--0123.safetensors\n"),
              AllOf(HasSubstr("is a git-annex pointer"), HasSubstr("git annex get")));
}

TEST(MisplacedFile, AWebPageAndOtherTextsAreCalledSo) {
  EXPECT_THAT(ErrorWith("model.safetensors", "\n<!DOCTYPE html>\n<html>…"),
              HasSubstr("model.safetensors is a web page"));
  EXPECT_THAT(ErrorWith("model.safetensors", "<?xml version=\"1.0\"?><Error/>"),
              HasSubstr("is XML or HTML"));
  EXPECT_THAT(ErrorWith("model.safetensors", "Entry not found\n"),
              HasSubstr("is a text that begins with 'Entry not found'"));
  EXPECT_THAT(ErrorWith("model.safetensors", R"({"error": "Repository not found"})"),
              HasSubstr("is a text that begins with '{\"error\": "));
}

TEST(MisplacedFile, AnArchiveAndACompressedFileAreCalledSo) {
  const std::string zeros(600, '\0');
  const std::string tar = absl::StrCat(std::string(257, 'n'), "ustar", zeros);
  for (const auto& [content, what] : std::vector<std::pair<std::string, const char*>>{
           {"PK\x03\x04" + zeros, "is a zip archive"},
           // `gzip -n`: its first 8 bytes could be the length of a header.
           {std::string("\x1F\x8B\x08\0\0\0\0\0\0\x03", 10) + zeros, "is compressed with gzip"},
           {"\x28\xB5\x2F\xFD" + zeros, "is compressed with zstd"},
           {std::string("\xFD\x37zXZ\0", 6) + zeros, "is compressed with xz"},
           {"BZh91AY&SY" + zeros, "is compressed with bzip2"},
           {tar, "is a tar archive"}}) {
    EXPECT_THAT(ErrorWith("model.safetensors", content), HasSubstr(what));
    EXPECT_THAT(ErrorWith("config.json", content), HasSubstr(what));
  }
}

TEST(MisplacedFile, WeightsInAnotherFormatAreCalledSo) {
  const std::string zeros(600, '\0');
  for (const auto& [content, what] : std::vector<std::pair<std::string, const char*>>{
           {"PK\x03\x04" + zeros, "perhaps PyTorch's .pt or .bin format"},
           {"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9" + zeros, "is a pickle, PyTorch's older"},
           {"\x80\x04\x95" + zeros, "is a pickle"},
           {std::string("GGUF\x03\0\0\0", 8) + zeros, "is a GGUF file"},
           {"\x89HDF\r\n\x1A\n" + zeros, "is an HDF5 file"},
           {zeros, "is filled with zeros where its header should be"}}) {
    EXPECT_THAT(ErrorWith("model.safetensors", content), HasSubstr(what));
  }
}

TEST(MisplacedFile, AWebPageInPlaceOfASmallFileIsCalledSo) {
  for (const char* file : {"config.json", "model.safetensors.index.json"}) {
    EXPECT_THAT(ErrorWith(file, "<!DOCTYPE html>\n<html>…"),
                HasSubstr(std::string(file) + " is a web page"));
  }
}

TEST(MisplacedFile, TokenizerFilesAsTheyAreAreLeftAlone) {
  for (const char* content :
       {"{}", "<bos>{{ messages }}", "{%- macro header() -%}", "\x0A\x0E\x0A\x05<pad>", ""}) {
    EXPECT_EQ(MisplacedFile(content), "") << content;
  }
}

TEST(MisplacedFile, ASafetensorsFileIsLeftAloneWhateverTheLengthOfItsHeader) {
  // A length whose bytes are gzip's magic number, and one whose bytes are a pickle's.
  EXPECT_EQ(MisplacedWeights(std::string("\x1F\x8B\x08\0\0\0\0\0{\"a\"", 12)), "");
  EXPECT_EQ(MisplacedWeights(std::string("\x80\x04\x95\0\0\0\0\0{\"a\"", 12)), "");
}

TEST(MisplacedFile, BytesThatAreNoTextAreASafetensorsFileOrNone) {
  // Of a header that is cut off.
  EXPECT_EQ(MisplacedWeights(std::string("\x40\0\0\0\0\0\0\0{\"a\"", 12)), "");
  EXPECT_EQ(MisplacedWeights(""), "");
  EXPECT_EQ(MisplacedWeights("abc"), "");
  EXPECT_THAT(ErrorWith("model.safetensors", std::string(100, '\xFF')), Not(HasSubstr("text")));
}

}  // namespace
}  // namespace hookwire::model
