#include "server/rpc/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

class TokenizerFilesTest : public testing::Test {
 protected:
  TokenizerFilesTest() {
    directory_ = std::filesystem::path(testing::TempDir()) / "tokenizer_files_test";
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
  }
  ~TokenizerFilesTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }

  std::filesystem::path directory_;
};

TEST_F(TokenizerFilesTest, GivesTheKnownFilesOneAfterAnother) {
  const std::string large(2'500'000, 't');
  Write("tokenizer_config.json", "{}");
  Write("tokenizer.json", large);
  Write("generation_config.json", "");
  Write("model.safetensors", "weights");
  absl::StatusOr<TokenizerFiles> files = TokenizerFiles::Open(directory_);
  ASSERT_TRUE(files.ok());
  std::vector<std::string> names;
  std::map<std::string, std::string> contents;
  while (true) {
    v1::GetTokenizerResponse chunk;
    const absl::StatusOr<bool> more = files->Next(chunk);
    ASSERT_TRUE(more.ok());
    if (!*more) break;
    EXPECT_LE(chunk.data().size(), TokenizerFiles::kChunkBytes);
    names.push_back(chunk.name());
    contents[chunk.name()] += chunk.data();
    if (chunk.name() == "tokenizer.json") {
      EXPECT_EQ(chunk.size(), large.size());
    }
  }
  EXPECT_THAT(names, testing::ElementsAre("tokenizer.json", "tokenizer.json", "tokenizer.json",
                                          "tokenizer_config.json", "generation_config.json"));
  EXPECT_EQ(contents["tokenizer.json"], large);
  EXPECT_EQ(contents["tokenizer_config.json"], "{}");
}

TEST_F(TokenizerFilesTest, GivesEveryChatTemplate) {
  std::filesystem::create_directory(directory_ / "additional_chat_templates");
  Write("tokenizer.json", "{}");
  Write("chat_template.jinja", "default");
  Write("chat_template.json", "{}");
  Write("additional_chat_templates/tool_use.jinja", "tools");
  Write("additional_chat_templates/rag.jinja", "documents");
  Write("additional_chat_templates/notes.txt", "none");
  absl::StatusOr<TokenizerFiles> files = TokenizerFiles::Open(directory_);
  ASSERT_TRUE(files.ok());
  std::map<std::string, std::string> contents;
  while (true) {
    v1::GetTokenizerResponse chunk;
    const absl::StatusOr<bool> more = files->Next(chunk);
    ASSERT_TRUE(more.ok());
    if (!*more) break;
    contents[chunk.name()] += chunk.data();
  }
  const std::map<std::string, std::string> expected = {
      {"tokenizer.json", "{}"},
      {"chat_template.jinja", "default"},
      {"chat_template.json", "{}"},
      {"additional_chat_templates/tool_use.jinja", "tools"},
      {"additional_chat_templates/rag.jinja", "documents"},
  };
  EXPECT_EQ(contents, expected);
}

TEST_F(TokenizerFilesTest, WithoutATokenizerThereIsNone) {
  Write("tokenizer_config.json", "{}");
  const absl::Status status = TokenizerFiles::Open(directory_).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_NO_TOKENIZER);
}

TEST_F(TokenizerFilesTest, ASentencePieceModelIsEnough) {
  Write("tokenizer.model", "x");
  EXPECT_TRUE(TokenizerFiles::Open(directory_).ok());
}

TEST_F(TokenizerFilesTest, AFileThatVanishesIsAnError) {
  Write("tokenizer.json", "x");
  absl::StatusOr<TokenizerFiles> files = TokenizerFiles::Open(directory_);
  ASSERT_TRUE(files.ok());
  std::filesystem::remove(directory_ / "tokenizer.json");
  v1::GetTokenizerResponse chunk;
  EXPECT_EQ(files->Next(chunk).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace hookwire::server
