// Tensors of a checkpoint that the text path does not read: those that are known and left alone are
// not reported, all others are.

#include "model/adapter/unread_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/text/text_model.h"
#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::Bytes;
using ::hookwire::testing::SafetensorsBytes;
using ::hookwire::testing::TinyCheckpoint;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::nlohmann::json;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

// The unread tensors of a tiny checkpoint to which a file with these has been added, each of them
// one number.
std::vector<std::string> UnreadWith(const std::vector<std::string>& added,
                                    TinyVariant variant = TinyVariant::kEType) {
  TinyOptions options;
  options.variant = variant;
  options.shards = 2;
  if (variant != TinyVariant::kEType) options.layers = "sfsf";
  const TinyCheckpoint checkpoint(options);
  json header = json::object();
  for (size_t i = 0; i < added.size(); ++i) {
    header[added[i]] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {i * 4, (i + 1) * 4}}};
  }
  std::ofstream(checkpoint.directory() + "/added.safetensors", std::ios::binary)
      << SafetensorsBytes(header.dump(), Bytes(std::vector<float>(added.size(), 1)));
  const std::string path = checkpoint.directory() + "/model.safetensors.index.json";
  json index = json::parse(std::ifstream(path));
  for (const std::string& name : added) index["weight_map"][name] = "added.safetensors";
  std::ofstream(path) << index.dump();

  auto opened = Checkpoint::Open(checkpoint.directory());
  EXPECT_TRUE(opened.ok()) << opened.status();
  const auto model = TextModel::Load(*opened, {});
  EXPECT_TRUE(model.ok()) << model.status();
  return (*model)->unread_tensors();
}

TEST(UnreadTensors, AreNoneInAWholeCheckpoint) {
  for (const TinyVariant variant :
       {TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe, TinyVariant::kUnified}) {
    EXPECT_THAT(UnreadWith({}, variant), IsEmpty());
  }
}

TEST(UnreadTensors, AreAllThatChangeWhatWasTrained) {
  const std::vector<std::string> added = {
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
      "model.language_model.layers.0.mlp.down_proj.weight_scale",
      "model.language_model.layers.0.self_attn.q_proj.bias",
      "model.language_model.layers.0.self_attn.v_norm.weight",
      "model.language_model.layers.0.self_atn.q_proj.weight",
      "model.language_model.layers.6.mlp.down_proj.weight",
      "model.norm.weight",
      "vision_tower.weight",
  };
  std::vector<std::string> sorted = added;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_THAT(UnreadWith(added), ElementsAreArray(sorted));
}

TEST(UnreadTensors, LeaveOutTheTowersAndWhatIsComputed) {
  EXPECT_THAT(UnreadWith({"model.vision_tower.encoder.layers.0.self_attn.q_proj.linear.weight",
                          "model.embed_vision.embedding_projection.weight",
                          "model.audio_tower.layers.0.norm_out.weight",
                          "model.embed_audio.embedding_projection.weight",
                          "model.vision_embedder.patch_dense.weight",
                          "model.language_model.rotary_emb.sliding_attention_inv_freq",
                          "model.language_model.rotary_emb.full_attention_original_inv_freq",
                          "model.language_model.layers.0.self_attn.rotary_emb.inv_freq",
                          "model.language_model.embed_tokens.embed_scale"}),
              IsEmpty());
}

TEST(UnreadTensors, LeaveOutKeysAndValuesOfLayersThatReuseOthers) {
  // Layers 4 and 5 reuse those of 2 and 3; a LoRA of them is still an adapter that nothing reads.
  const std::string layer = "model.language_model.layers.5.self_attn.";
  EXPECT_THAT(UnreadWith({layer + "k_proj.bias", layer + "v_norm.weight"}), IsEmpty());
  const std::string lora = layer + "k_proj.lora_A.weight";
  EXPECT_THAT(UnreadWith({lora}), ElementsAreArray({lora}));
}

}  // namespace
}  // namespace hookwire::model
