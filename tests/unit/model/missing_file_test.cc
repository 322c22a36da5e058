// Where a file of a checkpoint is missing, the error says what is there in its place.

#include "model/checkpoint/missing_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/unit/support/temp_directory.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::TempDirectory;
using ::hookwire::testing::TinyConfigJson;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

class MissingFile : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(directory_.path(), "/", name);
  }
  std::string Error() const {
    const absl::Status status = Checkpoint::Open(directory_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    return std::string(status.message());
  }

  const TempDirectory directory_;
};

TEST_F(MissingFile, AModelOfTheHubHasToBeDownloaded) {
  const auto error = [](const std::string& path) {
    return std::string(Checkpoint::Open(path).status().message());
  };
  EXPECT_THAT(error("google/gemma-4-E2B-it"),
              HasSubstr("there is no directory google/gemma-4-E2B-it; if it is a model of the "
                        "Hugging Face Hub, download it first: hf download google/gemma-4-E2B-it "
                        "--local-dir DIR"));
  for (const char* path : {"/nonexistent/gemma", "./nonexistent", "nonexistent", "../a", "a/b/c"}) {
    EXPECT_EQ(error(path), absl::StrCat("there is no directory ", path));
  }
}

TEST_F(MissingFile, ADirectoryAroundTheCheckpointNamesIt) {
  fs::create_directories(Path("a"));
  EXPECT_EQ(Error(), directory_.path() + " is no checkpoint: it has no config.json");
  fs::create_directories(Path("snapshots/0a1b"));
  directory_.Write("snapshots/0a1b/config.json", "{}");
  EXPECT_EQ(Error(), absl::StrCat(directory_.path(), " is no checkpoint: it has no config.json; ",
                                  Path("snapshots/0a1b"), " has one"));
  directory_.Write("a/config.json", "{}");
  EXPECT_THAT(Error(), HasSubstr(absl::StrCat("; ", Path("a"), " has one")));
}

TEST_F(MissingFile, AnAdapterAloneIsCalledSo) {
  directory_.Write("adapter_config.json", "{}");
  directory_.Write("adapter_model.safetensors", "");
  EXPECT_THAT(Error(), HasSubstr("has an adapter's files only: merge the adapter"));
  directory_.Write("config.json", TinyConfigJson({}));
  EXPECT_THAT(Error(), HasSubstr("has an adapter's files only: merge the adapter"));
}

TEST_F(MissingFile, ALinkThatLeadsNowhereIsCalledSo) {
  fs::create_symlink("../blobs/0a1b", Path("config.json"));
  const std::string what = " is a link to a file that does not exist: download it again";
  EXPECT_EQ(Error(), Path("config.json") + what);
  fs::remove(Path("config.json"));
  directory_.Write("config.json", TinyConfigJson({}));
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    fs::create_symlink("../blobs/0a1b", Path(name));
    EXPECT_EQ(Error(), Path(name) + what);
    fs::remove(Path(name));
  }
  directory_.Write("model.safetensors.index.json", R"({"weight_map": {"a": "a.safetensors"}})");
  fs::create_symlink("../blobs/0a1b", Path("a.safetensors"));
  EXPECT_EQ(Error(), Path("a.safetensors") + what);
}

TEST_F(MissingFile, WeightsUnderAnotherNameAreNamed) {
  directory_.Write("config.json", TinyConfigJson({}));
  const std::string neither =
      directory_.path() + " has neither model.safetensors nor model.safetensors.index.json";
  EXPECT_EQ(Error(), neither);
  for (const auto& [name, advice] : {
           std::pair("model.safetensors.incomplete",
                     "model.safetensors.incomplete is a download that was not finished"),
           std::pair("model-00001-of-00002.safetensors",
                     "shards such as model-00001-of-00002.safetensors are read only if the index "
                     "names them: download the index too"),
           std::pair("gemma.safetensors",
                     "if gemma.safetensors is the whole model, rename it to model.safetensors"),
           std::pair("pytorch_model.bin",
                     "pytorch_model.bin is in a format that is not read: convert it to "
                     "safetensors"),
           std::pair("gemma.gguf",
                     "gemma.gguf is in a format that is not read: convert it to safetensors"),
       }) {
    directory_.Write(name, "x");
    EXPECT_EQ(Error(), absl::StrCat(neither, "; ", advice));
    fs::remove(Path(name));
  }
  directory_.Write("optimizer.pt", "x");
  EXPECT_EQ(Error(), neither);
}

}  // namespace
}  // namespace hookwire::model
