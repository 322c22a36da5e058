// Weight files in a checkpoint's directory that are not read are found by their names.

#include "model/checkpoint/unread_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/support/faulty_system.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::Bytes;
using ::hookwire::testing::FaultySystem;
using ::hookwire::testing::SafetensorsBytes;
using ::hookwire::testing::TinyCheckpoint;
using ::hookwire::testing::TinyOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

// A file with two tensors.
std::string TwoTensors() {
  return SafetensorsBytes(
      R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
          "b": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [4, 8]}})",
      Bytes({1, 2}));
}

class UnreadFiles : public ::testing::Test {
 protected:
  static TinyOptions TwoShards() {
    TinyOptions options;
    options.shards = 2;
    return options;
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(checkpoint_.directory(), "/", name);
  }
  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  // Each as "name" or "name: number of tensors".
  std::vector<std::string> Found() const {
    const auto opened = Checkpoint::Open(checkpoint_.directory());
    EXPECT_TRUE(opened.ok()) << opened.status();
    const auto files = FindUnreadFiles(**opened);
    EXPECT_TRUE(files.ok()) << files.status();
    std::vector<std::string> found;
    for (const UnreadFile& file : *files) {
      found.push_back(file.n_tensors ? absl::StrCat(file.name, ": ", *file.n_tensors) : file.name);
    }
    return found;
  }

  const TinyCheckpoint checkpoint_{TwoShards()};
};

TEST_F(UnreadFiles, AreNoneInACheckpointAsItIsPublished) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "README.md", "chat_template.jinja",
                           "generation_config.json", "adapter_config.json"}) {
    Write(name, "{}");
  }
  EXPECT_THAT(Found(), IsEmpty());
}

TEST_F(UnreadFiles, AreAnAdapterShardsOfNoIndexAndOtherFormats) {
  for (const char* name :
       {"adapter_model.safetensors", "consolidated.safetensors", "model-00003-of-00002.safetensors",
        "pytorch_model.bin", "consolidated.00.pth", "model.gguf", "model.pt", "old.BIN"}) {
    Write(name, TwoTensors());
  }
  EXPECT_THAT(Found(),
              ElementsAre("adapter_model.safetensors: 2", "consolidated.00.pth",
                          "consolidated.safetensors: 2", "model-00003-of-00002.safetensors: 2",
                          "model.gguf", "model.pt", "old.BIN", "pytorch_model.bin"));
}

TEST_F(UnreadFiles, AreTheShardsBesideASingleFile) {
  TinyCheckpoint single;
  fs::copy_file(single.directory() + "/model.safetensors", Path("model.safetensors"));
  const auto opened = Checkpoint::Open(checkpoint_.directory());
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_EQ((*opened)->weight_files().size(), 1u);
  EXPECT_EQ((*opened)->weight_files().front()->path(), Path("model.safetensors"));
  EXPECT_THAT(Found(), ElementsAre(HasSubstr("model-00001-of-00002.safetensors: "),
                                   HasSubstr("model-00002-of-00002.safetensors: ")));
}

TEST_F(UnreadFiles, AreNamedEvenIfBroken) {
  Write("a.safetensors", "");
  Write("b.safetensors", "no tensors");
  Write("c.safetensors", TwoTensors().substr(0, 40));
  fs::create_symlink("nowhere", Path("d.safetensors"));
  EXPECT_THAT(Found(),
              ElementsAre("a.safetensors", "b.safetensors", "c.safetensors", "d.safetensors"));
}

TEST_F(UnreadFiles, AreNoFoldersHiddenFilesLinksAndTrainingState) {
  fs::create_directory(Path("adapter.safetensors"));
  fs::create_directory(Path("checkpoint-500"));
  Write("checkpoint-500/model.safetensors", TwoTensors());
  Write("._model-00001-of-00002.safetensors", "of a Mac");
  fs::create_symlink("model-00001-of-00002.safetensors", Path("first.safetensors"));
  for (const char* name : {"optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state_0.pth",
                           "training_args.bin", "optimizer.bin"}) {
    Write(name, "state");
  }
  EXPECT_THAT(Found(), IsEmpty());
}

TEST_F(UnreadFiles, AFolderThatCannotBeListedIsAnError) {
  const auto opened = Checkpoint::Open(checkpoint_.directory());
  ASSERT_TRUE(opened.ok()) << opened.status();
  for (const char* call : {"opendir", "readdir"}) {
    FaultySystem system;
    system.Fail(call, 0, EACCES);
    const absl::Status status = FindUnreadFiles(**opened, system).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(status.message(),
              absl::StrCat("cannot list ", checkpoint_.directory(), ": ", std::strerror(EACCES)));
    EXPECT_EQ(system.descriptors(), 0u);
  }
}

TEST_F(UnreadFiles, AStrayFileThatCannotBeReadIsNamedWithoutANumber) {
  Write("stray.safetensors", TwoTensors());
  const auto opened = Checkpoint::Open(checkpoint_.directory());
  ASSERT_TRUE(opened.ok()) << opened.status();
  for (const char* call : {"open", "fstat", "mmap"}) {
    FaultySystem system;
    system.Fail(call, 0, EACCES);
    const auto files = FindUnreadFiles(**opened, system);
    ASSERT_TRUE(files.ok()) << files.status();
    ASSERT_EQ(files->size(), 1u);
    EXPECT_FALSE(files->front().n_tensors.has_value());
    EXPECT_EQ(system.failed(), 1);
  }
}

}  // namespace
}  // namespace hookwire::model
