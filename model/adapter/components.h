// The component mapping: TransformerLens's component names and the checkpoint modules behind them,
// as one table of data.
#ifndef HOOKWIRE_MODEL_ADAPTER_COMPONENTS_H_
#define HOOKWIRE_MODEL_ADAPTER_COMPONENTS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/config/config.h"

namespace hookwire::model {

enum class Component {
  kModel,  // the pass itself: hook_logits
  kEmbed,
  kRotarySliding,
  kRotaryFull,
  kBlock,
  kLn1,
  kAttn,
  kQ,
  kQNorm,
  kK,
  kKNorm,
  kV,
  kVNorm,
  kO,
  kLn1Post,
  kLn2,
  kMlp,
  kMlpGate,
  kMlpIn,
  kMlpOut,
  kPostFeedforwardNorm1,
  kRouter,
  kPreFeedforwardNorm2,
  kExperts,
  kPostFeedforwardNorm2,
  kLn2Post,
  kPerLayerInputGate,
  kPerLayerProjection,
  kPostPerLayerInputNorm,
  kLnFinal,
  kUnembed,
};

// On which checkpoints and layers a component or a site exists.
enum class Presence {
  kAlways,
  kOwnKeyValues,     // layers that do not reuse another layer's keys and values
  kOwnValues,        // of these, layers whose values have a projection of their own (not K==V)
  kSharedKeyValues,  // layers that reuse another layer's
  kPerLayerInputs,
  kExperts,
  kSlidingLayers,  // checkpoints with at least one sliding layer
};

struct ComponentRow {
  Component component;
  // Under "blocks.<i>." for components of a layer.
  absl::string_view name;
  // Under "<prefix>.layers.<i>." for components of a layer, under "<prefix>." for the rest, where
  // the prefix is "model.language_model" ("model" in a text-only checkpoint); absolute where it
  // starts with a slash.
  absl::string_view module;
  bool per_layer;
  Presence presence;
};

absl::Span<const ComponentRow> ComponentTable();
const ComponentRow& Row(Component component);

// `layer` is ignored for components outside the layers.
bool IsPresent(Presence presence, const Config& config, int layer);

// "blocks.3.attn.q".
std::string ComponentName(Component component, int layer);
// "model.language_model.layers.3.self_attn.q_proj".
std::string ModulePath(Component component, const Config& config, int layer);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_COMPONENTS_H_
