// The tokenizer's files: which are read, and that clients get them as they were at the start.

#include "server/rpc/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "server/errors/errors.h"
#include "server/rpc/tokenizer_call.h"
#include "tests/unit/rpc/service_fixture.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TokenizerFilesTest : public ServiceTest {
 protected:
  void Write(const std::string& name, const std::string& text) const {
    directory_.Write(name, text);
  }
  absl::StatusOr<TokenizerFiles> Read() const { return TokenizerFiles::Read(directory_.path()); }

  struct Answer {
    grpc::Status status;
    std::vector<v1::GetTokenizerResponse> chunks;
  };
  // What a client of a server gets.
  Answer GetTokenizer() {
    grpc::ClientContext context;
    const auto reader = stub_->GetTokenizer(&context, {});
    Answer answer;
    v1::GetTokenizerResponse chunk;
    while (reader->Read(&chunk)) answer.chunks.push_back(chunk);
    answer.status = reader->Finish();
    return answer;
  }
  void Serve() { StartServer({.directory = directory_.path(), .execute = {}}); }

  const hookwire::testing::TempDirectory directory_;
};

TEST_F(TokenizerFilesTest, ReadsTheKnownFilesAndEveryChatTemplate) {
  std::filesystem::create_directory(directory_.path() + "/additional_chat_templates");
  Write("tokenizer_config.json", "{1}");
  Write("tokenizer.json", "{2}");
  Write("generation_config.json", "");
  Write("chat_template.jinja", "default");
  Write("model.safetensors", "weights");
  Write("additional_chat_templates/tool_use.jinja", "tools");
  Write("additional_chat_templates/rag.jinja", "documents");
  Write("additional_chat_templates/notes.txt", "none");
  const absl::StatusOr<TokenizerFiles> files = Read();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(
      files->files(),
      ElementsAre(FieldsAre("tokenizer.json", "{2}"), FieldsAre("tokenizer_config.json", "{1}"),
                  FieldsAre("chat_template.jinja", "default"),
                  FieldsAre("generation_config.json", ""),
                  FieldsAre("additional_chat_templates/rag.jinja", "documents"),
                  FieldsAre("additional_chat_templates/tool_use.jinja", "tools")));
  EXPECT_TRUE(files->Check().ok());
}

TEST_F(TokenizerFilesTest, WithoutATokenizerThereIsNone) {
  Write("tokenizer_config.json", "{}");
  const absl::Status status = Read()->Check();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_NO_TOKENIZER);
}

TEST_F(TokenizerFilesTest, ASentencePieceModelIsEnough) {
  Write("tokenizer.model", "x");
  EXPECT_TRUE(Read()->Check().ok());
}

TEST_F(TokenizerFilesTest, FilesHaveALimitInAll) {
  Write("tokenizer.json", "12345678");
  Write("tokenizer.model", "1234");
  EXPECT_TRUE(TokenizerFiles::Read(directory_.path(), 12).ok());
  const absl::Status status = TokenizerFiles::Read(directory_.path(), 11).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("/tokenizer.model has 4 bytes"), HasSubstr("11 in all")));
}

TEST_F(TokenizerFilesTest, AFileWhoseSizeIsNotWhatItHoldsIsRefused) {
  // The system says that files of /proc have no bytes; reading them gives some.
  std::filesystem::create_symlink("/proc/self/status", directory_.path() + "/tokenizer.json");
  const absl::Status status = Read().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("/tokenizer.json"), HasSubstr("its size changed")));
}

TEST_F(TokenizerFilesTest, WhatIsNoFileIsRefused) {
  const std::string path = directory_.path() + "/tokenizer.json";
  std::filesystem::create_symlink("nowhere", path);
  absl::Status status = Read().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(
      status.message(),
      "cannot read " + path + ": it is a link to a file that does not exist: download it again");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  status = Read().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "cannot read " + path + ": it is not a regular file");
}

TEST_F(TokenizerFilesTest, ClientsGetLargeFilesInChunks) {
  const std::string large(2'500'000, 't');
  Write("tokenizer.json", large);
  Write("generation_config.json", "");
  Serve();
  const Answer answer = GetTokenizer();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  std::vector<std::string> names;
  std::string bytes;
  for (const v1::GetTokenizerResponse& chunk : answer.chunks) {
    names.push_back(chunk.name());
    bytes += chunk.data();
    EXPECT_LE(chunk.data().size(), TokenizerCall::kChunkBytes);
    EXPECT_EQ(chunk.size(), chunk.name() == "tokenizer.json" ? large.size() : 0);
  }
  EXPECT_THAT(names, ElementsAre("tokenizer.json", "tokenizer.json", "tokenizer.json",
                                 "generation_config.json"));
  EXPECT_EQ(bytes, large);
}

TEST_F(TokenizerFilesTest, ClientsGetTheFilesAsTheyWereAtTheStart) {
  Write("tokenizer.json", "old");
  Serve();
  Write("tokenizer.json", "new");
  Write("chat_template.jinja", "new");
  for (const char* what : {"replaced", "removed"}) {
    const Answer answer = GetTokenizer();
    EXPECT_TRUE(answer.status.ok()) << what;
    ASSERT_EQ(answer.chunks.size(), 1u) << what;
    EXPECT_EQ(answer.chunks[0].name(), "tokenizer.json");
    EXPECT_EQ(answer.chunks[0].data(), "old") << what;
    std::filesystem::remove(directory_.path() + "/tokenizer.json");
  }
}

TEST_F(TokenizerFilesTest, ClientsAreToldThatThereIsNone) {
  Serve();
  const Answer answer = GetTokenizer();
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(answer.status), "NO_TOKENIZER");
  EXPECT_THAT(answer.chunks, IsEmpty());
}

TEST_F(TokenizerFilesTest, ClientsAreToldThatAFileIsAGitLfsPointer) {
  Write("tokenizer.json",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 33384568\n");
  Serve();
  const Answer answer = GetTokenizer();
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(answer.status), "NO_TOKENIZER");
  EXPECT_THAT(answer.status.error_message(),
              AllOf(HasSubstr("tokenizer.json is a Git LFS pointer"), HasSubstr("git lfs pull")));
}

TEST_F(TokenizerFilesTest, ClientsAreToldThatAFileIsAWebPage) {
  Write("tokenizer.json", "{}");
  Write("chat_template.jinja", "<!doctype html>\n<title>Sign in</title>");
  Serve();
  const Answer answer = GetTokenizer();
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(answer.status), "NO_TOKENIZER");
  EXPECT_THAT(answer.status.error_message(), HasSubstr("chat_template.jinja is a web page"));
}

}  // namespace
}  // namespace hookwire::server
