// What lies in place of a checkpoint's file is called by its name.

#include "model/checkpoint/misplaced_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "model/checkpoint/checkpoint.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

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

TEST(MisplacedText, AGitLfsPointerIsCalledSo) {
  for (const char* file : {"model.safetensors", "config.json", "model.safetensors.index.json"}) {
    const std::string error = ErrorWith(file, kPointer);
    EXPECT_THAT(error, HasSubstr(std::string(file) + " is a Git LFS pointer"));
    EXPECT_THAT(error, HasSubstr("git lfs pull"));
  }
}

TEST(MisplacedText, AWebPageAndOtherTextsAreCalledSo) {
  EXPECT_THAT(ErrorWith("model.safetensors", "\n<!DOCTYPE html>\n<html>…"),
              HasSubstr("model.safetensors is a web page"));
  EXPECT_THAT(ErrorWith("model.safetensors", "<?xml version=\"1.0\"?><Error/>"),
              HasSubstr("is XML or HTML"));
  EXPECT_THAT(ErrorWith("model.safetensors", "Entry not found\n"),
              HasSubstr("is a text that begins with 'Entry not found'"));
  EXPECT_THAT(ErrorWith("model.safetensors", R"({"error": "Repository not found"})"),
              HasSubstr("is a text that begins with '{\"error\": "));
}

TEST(MisplacedText, BytesThatAreNoTextAreASafetensorsFileOrNone) {
  // Of a header that is cut off.
  EXPECT_EQ(MisplacedText(std::string("\x40\0\0\0\0\0\0\0{\"a\"", 12)), "");
  EXPECT_EQ(MisplacedText(""), "");
  EXPECT_EQ(MisplacedText("abc"), "");
  EXPECT_THAT(ErrorWith("model.safetensors", std::string(100, '\xFF')), Not(HasSubstr("text")));
}

}  // namespace
}  // namespace hookwire::model
