// Random Gemma 4 checkpoints of a few kilobytes, written as `save_pretrained` writes them, one for
// each variant.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_TINY_CHECKPOINT_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_TINY_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/unit/support/temp_directory.h"

namespace hookwire::testing {

enum class TinyVariant {
  kEType,    // per-layer embeddings, shared keys and values, double-wide MLPs
  kDense,    // K==V on full layers
  kMoe,      // K==V on full layers, experts beside the dense MLP
  kUnified,  // K==V on full layers
};

struct TinyOptions {
  TinyVariant variant = TinyVariant::kEType;
  // "s" is a sliding layer, "f" a full one; the last one must be full.
  std::string layers = "sfsfsf";
  // The last so many of these layers (E-type only).
  int n_key_value_shared_layers = 2;
  int64_t d_model = 32;
  int64_t d_mlp = 48;
  int64_t n_heads = 4;
  int64_t n_key_value_heads = 2;
  // In the full layers of K==V models.
  int64_t n_global_key_value_heads = 1;
  // In sliding and in full layers.
  int64_t d_head = 8;
  int64_t d_head_full = 16;
  int64_t sliding_window = 4;
  int64_t d_vocab = 48;
  int64_t d_vocab_per_layer_input = 48;
  int64_t d_per_layer_input = 8;
  int64_t n_ctx = 64;
  int64_t n_experts = 4;
  int64_t n_experts_per_token = 2;
  int64_t d_expert = 16;
  // 0: no softcap.
  double final_logit_softcap = 30.0;
  bool tie_word_embeddings = true;
  // "float32" or "bfloat16".
  std::string dtype = "float32";
  // 2 or more: several files and model.safetensors.index.json.
  int shards = 1;
  // config.json with `global_head_dim` and `num_global_key_value_heads`, as the published
  // checkpoints have it, in place of `per_layer_config`.
  bool published_config = false;
  uint32_t seed = 1;
};

// A checkpoint in a temporary directory, which the destructor removes.
class TinyCheckpoint {
 public:
  explicit TinyCheckpoint(const TinyOptions& options = {});

  const std::string& directory() const { return directory_.path(); }

 private:
  const TempDirectory directory_;
};

// The text of config.json.
std::string TinyConfigJson(const TinyOptions& options);

// One weight: name and shape.
struct TinyWeight {
  std::string name;
  std::vector<int64_t> shape;
};

// All the weights that such a checkpoint has.
std::vector<TinyWeight> TinyWeights(const TinyOptions& options);

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_TINY_CHECKPOINT_H_
