#include "model/checkpoint/checkpoint.h"

#include <ATen/ops/equal.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/text/text_model.h"
#include "model/text/weights.h"
#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/model/variant_names.h"
#include "tests/unit/support/temp_directory.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::Bytes;
using ::hookwire::testing::SafetensorsBytes;
using ::hookwire::testing::TempDirectory;
using ::hookwire::testing::TinyCheckpoint;
using ::hookwire::testing::TinyConfigJson;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::hookwire::testing::TinyWeight;
using ::hookwire::testing::TinyWeights;
using ::nlohmann::json;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace fs = std::filesystem;

constexpr char kEmbed[] = "model.language_model.embed_tokens.weight";

std::shared_ptr<const Checkpoint> MustOpen(const std::string& directory) {
  auto checkpoint = Checkpoint::Open(directory);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return *checkpoint;
}

std::vector<std::string> PathsOf(const std::vector<std::shared_ptr<const MappedFile>>& files) {
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back(file->path());
  return paths;
}

// A directory with the config of a tiny checkpoint and whatever weight files a test puts into it.
class CheckpointDirectory : public ::testing::Test {
 protected:
  CheckpointDirectory() { directory_.Write("config.json", TinyConfigJson({})); }

  // One float named `tensor`.
  static std::string OneTensor(const std::string& tensor) {
    return SafetensorsBytes(
        absl::StrCat("{\"", tensor,
                     R"(": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})"),
        Bytes({1.0f}));
  }
  void WriteIndex(const json& weight_map) {
    directory_.Write("model.safetensors.index.json", json({{"weight_map", weight_map}}).dump());
  }
  absl::Status OpenStatus() const { return Checkpoint::Open(directory_.path()).status(); }

  const TempDirectory directory_;
};

TEST(CheckpointOpen, KeepsTheTextThatItsConfigWasParsedFrom) {
  const TinyCheckpoint directory;
  const std::string path = directory.directory() + "/config.json";
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ASSERT_NE(text, "");
  const auto checkpoint = MustOpen(directory.directory());
  std::ofstream(path) << "{}";
  EXPECT_EQ(checkpoint->config_text(), text);
  EXPECT_EQ(ParseConfig(checkpoint->config_text())->d_model, checkpoint->config().d_model);
}

TEST(CheckpointOpen, ReadsASingleFile) {
  const TinyCheckpoint directory;
  const auto checkpoint = MustOpen(directory.directory());
  EXPECT_EQ(checkpoint->directory(), directory.directory());
  EXPECT_EQ(checkpoint->name(), fs::path(directory.directory()).filename());
  EXPECT_EQ(checkpoint->config().d_model, 32);
  std::vector<std::string> expected;
  for (const TinyWeight& weight : TinyWeights({})) expected.push_back(weight.name);
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(checkpoint->names(), expected);
  EXPECT_THAT(PathsOf(checkpoint->weight_files()),
              ElementsAre(directory.directory() + "/model.safetensors"));
  EXPECT_TRUE(checkpoint->Has(kEmbed));
  EXPECT_FALSE(checkpoint->Has("lm_head.weight"));
  EXPECT_THAT(checkpoint->Get(kEmbed)->sizes(), ElementsAre(48, 32));
}

TEST(CheckpointOpen, TheNameIsTheLastPartOfThePath) {
  const TinyCheckpoint directory;
  EXPECT_EQ(MustOpen(directory.directory() + "/")->name(),
            fs::path(directory.directory()).filename());
  EXPECT_EQ(MustOpen(directory.directory() + "/.")->name(),
            fs::path(directory.directory()).filename());
}

TEST(CheckpointOpen, ShardsHoldTheSameWeights) {
  TinyOptions options;
  const TinyCheckpoint whole(options);
  options.shards = 3;
  const TinyCheckpoint sharded(options);
  const auto one = MustOpen(whole.directory());
  const auto three = MustOpen(sharded.directory());
  EXPECT_THAT(PathsOf(three->weight_files()),
              ElementsAre(sharded.directory() + "/model-00001-of-00003.safetensors",
                          sharded.directory() + "/model-00002-of-00003.safetensors",
                          sharded.directory() + "/model-00003-of-00003.safetensors"));
  EXPECT_EQ(three->names(), one->names());
  for (const std::string& name : one->names()) {
    EXPECT_TRUE(at::equal(*one->Get(name), *three->Get(name))) << name;
  }
}

TEST(CheckpointOpen, TensorsOutliveTheCheckpoint) {
  auto directory = std::make_unique<TinyCheckpoint>();
  auto checkpoint = MustOpen(directory->directory());
  const at::Tensor embed = *checkpoint->Get(kEmbed);
  const at::Tensor copy = embed.clone();
  EXPECT_EQ(checkpoint->Get(kEmbed)->data_ptr(), embed.data_ptr());
  checkpoint.reset();
  directory.reset();
  EXPECT_TRUE(at::equal(embed, copy));
}

TEST(CheckpointOpen, AMissingTensorNamesTheNearest) {
  const TinyCheckpoint directory;
  const auto checkpoint = MustOpen(directory.directory());
  const absl::Status status =
      checkpoint->Get("model.language_model.layers.1.self_attn.q_prj.weight").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(
      status.message(),
      directory.directory() +
          " has no tensor model.language_model.layers.1.self_attn.q_prj.weight; the nearest is "
          "model.language_model.layers.1.self_attn.q_proj.weight");
}

TEST(CheckpointOpen, NoDirectory) {
  const absl::Status missing = Checkpoint::Open("/nonexistent/model").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(missing.message(), "there is no directory /nonexistent/model");

  const TinyCheckpoint directory;
  const std::string file = directory.directory() + "/model.safetensors";
  EXPECT_EQ(Checkpoint::Open(file).status().message(),
            file +
                " is not a directory; a checkpoint is a directory with config.json and the weight "
                "files");
}

TEST(CheckpointOpen, NoConfig) {
  const TempDirectory empty;
  const absl::Status status = Checkpoint::Open(empty.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), empty.path() + " is no checkpoint: it has no config.json");
}

TEST_F(CheckpointDirectory, ABadConfigNamesTheDirectory) {
  directory_.Write("config.json", R"({"model_type": "llama"})");
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() +
                ": config.json: model_type is \"llama\"; this server runs gemma4 and "
                "gemma4_unified");
  directory_.Write("config.json", "[]");
  EXPECT_EQ(OpenStatus().message(), directory_.path() + ": config.json: is not a JSON object");
  directory_.Write("config.json", "");
  EXPECT_EQ(OpenStatus().message(), directory_.path() + "/config.json is empty: download it again");
}

TEST_F(CheckpointDirectory, NoWeights) {
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() + " has neither model.safetensors nor model.safetensors.index.json");
}

TEST_F(CheckpointDirectory, ADirectoryInPlaceOfAFile) {
  fs::create_directory(directory_.path() + "/model.safetensors");
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenStatus().message(), directory_.path() + "/model.safetensors is not a regular file");
}

TEST_F(CheckpointDirectory, AnEmptyWeightFile) {
  directory_.Write("model.safetensors", "");
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() + "/model.safetensors is empty: download it again");
}

TEST_F(CheckpointDirectory, AnIndexThatNamesAMissingFile) {
  directory_.Write("a.safetensors", OneTensor("a"));
  WriteIndex({{"a", "a.safetensors"}, {"b", "b.safetensors"}});
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() +
                "/model.safetensors.index.json names b.safetensors, which is missing: download it "
                "again");
}

TEST_F(CheckpointDirectory, AnIndexThatNamesAFileOutside) {
  const TempDirectory outside;
  const std::string there = outside.Write("a.safetensors", OneTensor("a"));
  fs::create_directory(directory_.path() + "/sub");
  directory_.Write("sub/a.safetensors", OneTensor("a"));
  for (const std::string& name :
       {there, std::string("../a.safetensors"), std::string("sub/a.safetensors"),
        std::string("./../") + fs::path(outside.path()).filename().string() + "/a.safetensors"}) {
    WriteIndex({{"a", name}});
    EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(OpenStatus().message(),
              directory_.path() +
                  "/model.safetensors.index.json names a file outside the directory: " + name);
  }
  for (const char* name : {"..", ".", ""}) {
    WriteIndex({{"a", name}});
    EXPECT_THAT(std::string(OpenStatus().message()), HasSubstr("is not a regular file")) << name;
  }
}

TEST_F(CheckpointDirectory, AnIndexThatIsNone) {
  for (const char* text : {"{}", "[]", R"({"weight_map": ["a.safetensors"]})"}) {
    directory_.Write("model.safetensors.index.json", text);
    EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(OpenStatus().message(),
              directory_.path() + "/model.safetensors.index.json has no weight_map")
        << text;
  }
  directory_.Write("model.safetensors.index.json", "{");
  EXPECT_EQ(
      OpenStatus().message(),
      directory_.path() + "/model.safetensors.index.json is not valid JSON: it may be cut short");
  directory_.Write("model.safetensors.index.json", "");
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() + "/model.safetensors.index.json is empty: download it again");
  WriteIndex(json::object());
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() + "/model.safetensors.index.json names no file");
  WriteIndex({{"a", 7}});
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() + "/model.safetensors.index.json: no file for a");
}

TEST_F(CheckpointDirectory, ATensorInTwoFiles) {
  directory_.Write("a.safetensors", OneTensor("a"));
  directory_.Write("b.safetensors", OneTensor("a"));
  WriteIndex({{"a", "a.safetensors"}, {"b", "b.safetensors"}});
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenStatus().message(),
            directory_.path() + "/b.safetensors repeats the tensor a of another file");
}

TEST_F(CheckpointDirectory, ATruncatedShardNamesItself) {
  directory_.Write("a.safetensors", OneTensor("a"));
  const std::string whole = OneTensor("b");
  directory_.Write("b.safetensors", whole.substr(0, whole.size() - 1));
  WriteIndex({{"a", "a.safetensors"}, {"b", "b.safetensors"}});
  const std::string file = directory_.path() + "/b.safetensors";
  EXPECT_EQ(OpenStatus().message(),
            file +
                " is not a whole safetensors file: its tensors need 4 bytes, and it has 3 of "
                "them: download it again");
}

// Rewrites the header of a tiny checkpoint's file. Bytes no longer named stay where they are.
void EditHeader(const std::string& directory, const std::function<void(json&)>& edit) {
  const std::string path = directory + "/model.safetensors";
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  json header = json::parse(bytes.substr(8, length));
  edit(header);
  std::ofstream out(path, std::ios::binary);
  out << SafetensorsBytes(header.dump(), bytes.substr(8 + length));
}

absl::Status LoadStatus(const std::string& directory) {
  auto checkpoint = Checkpoint::Open(directory);
  if (!checkpoint.ok()) return checkpoint.status();
  return TextModel::Load(*std::move(checkpoint), {}).status();
}

class EveryWeight : public ::testing::TestWithParam<TinyVariant> {};

TEST_P(EveryWeight, IsNamedWhereItIsMissing) {
  TinyOptions options;
  options.variant = GetParam();
  options.layers = GetParam() == TinyVariant::kEType ? "sfsf" : "sf";
  for (const TinyWeight& weight : TinyWeights(options)) {
    const TinyCheckpoint directory(options);
    EditHeader(directory.directory(), [&weight](json& header) { header.erase(weight.name); });
    const absl::Status status = LoadStatus(directory.directory());
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << weight.name;
    // A suggestion follows only where another name is near.
    const std::string sentence =
        absl::StrCat(directory.directory(), " has no tensor ", weight.name);
    EXPECT_THAT(std::string(status.message()),
                AnyOf(sentence, StartsWith(absl::StrCat(sentence, "; the nearest is "))));
  }
}

TEST_P(EveryWeight, IsNamedWhereItHasAnotherShape) {
  TinyOptions options;
  options.variant = GetParam();
  options.layers = GetParam() == TinyVariant::kEType ? "sfsf" : "sf";
  for (const TinyWeight& weight : TinyWeights(options)) {
    const TinyCheckpoint directory(options);
    EditHeader(directory.directory(),
               [&weight](json& header) { header[weight.name]["shape"].push_back(1); });
    const absl::Status status = LoadStatus(directory.directory());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << weight.name;
    EXPECT_THAT(std::string(status.message()),
                StartsWith(absl::StrCat(directory.directory(), ": ", weight.name, " has shape [")));
  }
}

INSTANTIATE_TEST_SUITE_P(Load, EveryWeight, hookwire::testing::AllVariants(),
                         hookwire::testing::VariantTestName);

TEST(Load, AWrongShapeSaysBothShapes) {
  const TinyCheckpoint directory;
  EditHeader(directory.directory(), [](json& header) { header[kEmbed]["shape"] = {32, 48}; });
  EXPECT_EQ(LoadStatus(directory.directory()).message(),
            absl::StrCat(directory.directory(), ": ", kEmbed,
                         " has shape [32, 48] where config.json says [48, 32]"));
}

TEST(Load, QuantisedWeightsAreNotSupported) {
  const TinyCheckpoint directory;
  EditHeader(directory.directory(), [](json& header) { header[kEmbed]["dtype"] = "I32"; });
  EXPECT_EQ(LoadStatus(directory.directory()).message(),
            absl::StrCat(directory.directory(), ": ", kEmbed,
                         " is no floating-point tensor; quantised weights are not supported"));

  EditHeader(directory.directory(), [](json& header) { header[kEmbed]["dtype"] = "F8_E4M3"; });
  EXPECT_EQ(LoadStatus(directory.directory()).message(),
            absl::StrCat(directory.directory(), "/model.safetensors: ", kEmbed,
                         " has dtype F8_E4M3, which is not supported"));
}

TEST(Load, WeightsOfSharedLayersAndOtherTowersAreLeftAlone) {
  const TinyCheckpoint directory;
  EditHeader(directory.directory(), [](json& header) {
    const auto add = [&header](const std::string& name, const char* dtype) {
      header[name] = {{"dtype", dtype}, {"shape", {0}}, {"data_offsets", {0, 0}}};
    };
    add("model.language_model.layers.5.self_attn.k_proj.weight", "F32");
    add("model.audio_tower.conv.weight", "F8_E4M3");
  });
  EXPECT_TRUE(LoadStatus(directory.directory()).ok()) << LoadStatus(directory.directory());
}

TEST(Load, RefusesDtypesThatItDoesNotComputeIn) {
  const TinyCheckpoint directory;
  json config = json::parse(TinyConfigJson({}));
  config["dtype"] = "float16";
  std::ofstream(directory.directory() + "/config.json") << config.dump();
  const absl::Status status = LoadStatus(directory.directory());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            directory.directory() + ": dtype float16 is not supported; choose float32 or bfloat16");
}

TEST(Load, TheEmbeddingSaysTheDtypeWhereTheConfigDoesNot) {
  TinyOptions options;
  options.dtype = "bfloat16";
  const TinyCheckpoint directory(options);
  json config = json::parse(TinyConfigJson(options));
  config.erase("dtype");
  std::ofstream(directory.directory() + "/config.json") << config.dump();
  const auto model = TextModel::Load(MustOpen(directory.directory()), {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->dtype(), at::kBFloat16);
}

TEST(Load, WeightsAreMappedWhereTheDtypeFits) {
  const TinyCheckpoint directory;
  const auto checkpoint = MustOpen(directory.directory());
  const std::string embed = kEmbed;
  const std::string output = "model.language_model.layers.3.self_attn.o_proj.weight";
  const auto mapped = LoadWeights(*checkpoint, at::kFloat, {DeviceRoom{}});
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ(mapped->embed.data_ptr(), checkpoint->Get(embed)->data_ptr());
  EXPECT_EQ(mapped->unembed.weight.data_ptr(), mapped->embed.data_ptr());
  EXPECT_EQ(mapped->layers[3].o.weight.data_ptr(), checkpoint->Get(output)->data_ptr());

  const auto converted = LoadWeights(*checkpoint, at::kBFloat16, {DeviceRoom{}});
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(converted->embed.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(converted->embed, checkpoint->Get(embed)->to(at::kBFloat16)));
}

TEST(Load, CountsTiedWeightsOnceAndBuffersNot) {
  const TinyCheckpoint directory;
  int64_t expected = 0;
  for (const TinyWeight& weight : TinyWeights({})) {
    if (absl::EndsWith(weight.name, ".layer_scalar")) continue;
    int64_t elements = 1;
    for (const int64_t size : weight.shape) elements *= size;
    expected += elements;
  }
  const auto model = TextModel::Load(MustOpen(directory.directory()), {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->n_params(), expected);
}

TEST(Load, AnUnembeddingOfItsOwnIsUsed) {
  TinyOptions options;
  options.tie_word_embeddings = false;
  const TinyCheckpoint directory(options);
  const auto checkpoint = MustOpen(directory.directory());
  const auto weights = LoadWeights(*checkpoint, at::kFloat, {DeviceRoom{}});
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->unembed.weight.data_ptr(), checkpoint->Get("lm_head.weight")->data_ptr());
  EXPECT_FALSE(at::equal(weights->unembed.weight, weights->embed));

  EditHeader(directory.directory(), [](json& header) { header.erase("lm_head.weight"); });
  EXPECT_THAT(std::string(LoadStatus(directory.directory()).message()),
              HasSubstr("has no tensor lm_head.weight"));
}

}  // namespace
}  // namespace hookwire::model
