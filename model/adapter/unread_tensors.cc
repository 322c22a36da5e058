#include "model/adapter/unread_tensors.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/adapter/components.h"

namespace hookwire::model {
namespace {

// Modules for images, video and sound, which are not part of the language model.
constexpr absl::string_view kOtherInputs[] = {
    "model.vision_tower.", "model.embed_vision.", "model.vision_embedder.",
    "model.audio_tower.",  "model.embed_audio.",
};

// Tensors that make keys and values, of layers that reuse another layer's keys and values.
absl::flat_hash_set<std::string> UnusedKeyValues(const Config& config) {
  absl::flat_hash_set<std::string> names;
  for (int layer = 0; layer < config.n_layers(); ++layer) {
    if (!config.layers[static_cast<size_t>(layer)].shares_key_values()) continue;
    for (const Component component :
         {Component::kK, Component::kV, Component::kKNorm, Component::kVNorm}) {
      const std::string module = ModulePath(component, config, layer);
      names.insert(absl::StrCat(module, ".weight"));
      names.insert(absl::StrCat(module, ".bias"));
    }
  }
  return names;
}

// Whether the tensor is computed from config.json, so that older checkpoints need not have it:
// "model.rotary_emb.inv_freq", "model.embed_tokens.embed_scale".
bool IsComputedBuffer(absl::string_view name) {
  return (absl::EndsWith(name, "inv_freq") && absl::StrContains(name, ".rotary_emb.")) ||
         absl::EndsWith(name, ".embed_tokens.embed_scale") ||
         absl::EndsWith(name, ".embed_tokens_per_layer.embed_scale");
}

}  // namespace

std::vector<std::string> UnreadTensors(const Config& config, absl::Span<const std::string> names,
                                       const absl::flat_hash_set<std::string>& read) {
  const absl::flat_hash_set<std::string> unused = UnusedKeyValues(config);
  const auto is_known = [&](const std::string& name) {
    return read.contains(name) || unused.contains(name) || IsComputedBuffer(name) ||
           std::any_of(std::begin(kOtherInputs), std::end(kOtherInputs),
                       [&](absl::string_view part) { return absl::StartsWith(name, part); });
  };
  std::vector<std::string> unread;
  for (const std::string& name : names) {
    if (!is_known(name)) unread.push_back(name);
  }
  return unread;
}

}  // namespace hookwire::model
