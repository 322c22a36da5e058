// Spoiled checkpoints: opening and loading one gives a model or a status, never a crash, and never
// more memory than the files explain.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/checkpoint/checkpoint.h"
#include "model/text/text_model.h"
#include "tests/fuzz/mutate.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::fuzz {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kCheckpoints = 1500;
constexpr size_t kAllowedGrowth = 256U << 20U;

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Every value inside `value`, itself first.
void Walk(json& value, std::vector<json*>& places) {
  places.push_back(&value);
  if (value.is_structured()) {
    for (json& child : value) Walk(child, places);
  }
}

json Strange(Random& random) {
  static const std::vector<json> kStrange = {nullptr,
                                             true,
                                             -1,
                                             0,
                                             1,
                                             2,
                                             7,
                                             65536,
                                             2147483647,
                                             4294967296,
                                             -9007199254740993,
                                             INT64_MAX,
                                             INT64_MIN,
                                             UINT64_MAX,
                                             0.5,
                                             -0.0,
                                             1e308,
                                             "",
                                             "full_attention",
                                             "gemma4_text",
                                             "F32",
                                             "U8",
                                             json::array(),
                                             json::object(),
                                             {0, 0},
                                             {1, -1},
                                             {8, 4},
                                             {0, UINT64_MAX}};
  return kStrange[Below(random, kStrange.size())];
}

// Spoils a JSON text: as a tree most of the time, as bytes otherwise.
std::string MutateJson(const std::string& text, Random& random) {
  if (Below(random, 3) == 0) return MutateBytes(text, random);
  json root = json::parse(text);
  for (size_t n = 1 + Below(random, 2); n > 0; --n) {
    std::vector<json*> places;
    Walk(root, places);
    json& place = *places[Below(random, places.size())];
    if (place.is_structured() && !place.empty() && Below(random, 2) == 0) {
      auto child = place.begin();
      std::advance(child, static_cast<std::ptrdiff_t>(Below(random, place.size())));
      if (place.is_array() && Below(random, 2) == 0) {
        place.push_back(json(*child));
      } else {
        place.erase(child);
      }
    } else {
      place = Strange(random);
    }
  }
  return root.dump();
}

class CheckpointMutation : public ::testing::Test {
 protected:
  CheckpointMutation() {
    config_ = ReadFile(fs::path(HOOKWIRE_TOY_PATH) / "config.json");
    const std::string weights = ReadFile(fs::path(HOOKWIRE_TOY_PATH) / "model.safetensors");
    uint64_t length = 0;
    std::memcpy(&length, weights.data(), sizeof(length));
    header_ = weights.substr(8, length);
    data_bytes_ = weights.size() - 8 - length;
    WriteConfig(config_);
    WriteWeights(header_.size(), header_);
  }

  void WriteConfig(const std::string& text) const {
    std::ofstream(directory_ / "config.json", std::ios::binary) << text;
  }

  // The data is a hole in the file: zeros that take no space.
  void WriteWeights(uint64_t length, const std::string& header) const {
    const fs::path path = directory_ / "model.safetensors";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << header;
    file.close();
    fs::resize_file(path, 8 + header.size() + data_bytes_);
  }

  // Opens and loads; whether both went well. A status must say something.
  bool Try() const {
    const auto checkpoint = model::Checkpoint::Open(directory_.string());
    if (!checkpoint.ok()) {
      EXPECT_FALSE(checkpoint.status().message().empty());
      return false;
    }
    for (const std::string& name : (*checkpoint)->names()) {
      const auto tensor = (*checkpoint)->Get(name);
      if (!tensor.ok()) continue;
      // Reads the first and the last byte, which must lie inside the mapping.
      const auto* bytes = static_cast<const volatile char*>(tensor->data_ptr());
      if (tensor->nbytes() > 0) static_cast<void>(bytes[0] + bytes[tensor->nbytes() - 1]);
    }
    const auto loaded = model::TextModel::Load(*checkpoint, {});
    EXPECT_TRUE(loaded.ok() || !loaded.status().message().empty());
    return loaded.ok();
  }

  const hookwire::testing::TempDirectory temp_;
  const fs::path directory_ = temp_.path();
  std::string config_;
  std::string header_;
  uint64_t data_bytes_ = 0;
};

TEST_F(CheckpointMutation, OfConfigGivesAModelOrAStatus) {
  ASSERT_TRUE(Try());
  const size_t before = ResidentBytes();
  Random random(1);
  int loaded = 0;
  for (int i = 0; i < kCheckpoints; ++i) {
    const std::string config = MutateJson(config_, random);
    SCOPED_TRACE(config);
    WriteConfig(config);
    loaded += Try() ? 1 : 0;
    ASSERT_LT(ResidentBytes(), before + kAllowedGrowth);
  }
  EXPECT_GT(loaded, 0);
  EXPECT_LT(loaded, kCheckpoints * 9 / 10);
}

TEST_F(CheckpointMutation, OfSafetensorsHeadersGivesAModelOrAStatus) {
  ASSERT_TRUE(Try());
  const size_t before = ResidentBytes();
  Random random(2);
  int loaded = 0;
  for (int i = 0; i < kCheckpoints; ++i) {
    const std::string header = MutateJson(header_, random);
    uint64_t length = header.size();
    if (Below(random, 10) == 0) length = random() % 2 == 0 ? random() : ~uint64_t{random()};
    SCOPED_TRACE(header);
    WriteWeights(length, header);
    loaded += Try() ? 1 : 0;
    ASSERT_LT(ResidentBytes(), before + kAllowedGrowth);
  }
  EXPECT_LT(loaded, kCheckpoints * 9 / 10);
}

TEST_F(CheckpointMutation, FilesThatAreCutShortGiveAStatus) {
  ASSERT_TRUE(Try());
  const fs::path path = directory_ / "model.safetensors";
  const uint64_t whole = fs::file_size(path);
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{7}, uint64_t{8}, uint64_t{9},
                        8 + header_.size() - 1, 8 + header_.size(), whole - 1}) {
    WriteWeights(header_.size(), header_);
    fs::resize_file(path, size);
    EXPECT_FALSE(Try()) << size;
  }
}

}  // namespace
}  // namespace hookwire::fuzz
