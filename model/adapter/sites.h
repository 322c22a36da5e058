// Every kind of hook point of the forward pass, as one table of data.
#ifndef HOOKWIRE_MODEL_ADAPTER_SITES_H_
#define HOOKWIRE_MODEL_ADAPTER_SITES_H_

#include <array>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/adapter/components.h"

namespace hookwire::model {

// In the order of the forward pass.
enum class Site {
  // Before the blocks.
  kEmbedIn,
  kEmbedOut,
  kRotarySlidingIn,
  kRotarySlidingCos,
  kRotarySlidingSin,
  kRotaryFullIn,
  kRotaryFullCos,
  kRotaryFullSin,
  // A block. The four sites of a norm are consecutive: HookedNorm relies on that.
  kBlockIn,
  kQInput,
  kKInput,
  kVInput,
  kLn1In,
  kLn1Scale,
  kLn1Normalized,
  kLn1Out,
  kAttnIn,
  kQIn,
  kQOut,
  kQNormIn,
  kQNormScale,
  kQNormNormalized,
  kQNormOut,
  kRotQ,
  kKIn,
  kKOut,
  kVIn,
  kVOut,
  kKNormIn,
  kKNormScale,
  kKNormNormalized,
  kKNormOut,
  kVNormIn,
  kVNormScale,
  kVNormNormalized,
  kVNormOut,
  kRotK,
  kRotV,
  kAttnScores,
  kPattern,
  kOIn,
  kResult,
  kOOut,
  kAttnOut,
  kLn1PostIn,
  kLn1PostScale,
  kLn1PostNormalized,
  kLn1PostOut,
  kResidMid,
  kLn2In,
  kLn2Scale,
  kLn2Normalized,
  kLn2Out,
  kMlpIn,
  kGateIn,
  kGateOut,
  kUpIn,
  kUpOut,
  kDownIn,
  kDownOut,
  kMlpOut,
  kPostFf1In,
  kPostFf1Scale,
  kPostFf1Normalized,
  kPostFf1Out,
  kRouterIn,
  kRouterScores,
  kRouterOut,
  kRouterWeights,
  kRouterIndices,
  kPreFf2In,
  kPreFf2Scale,
  kPreFf2Normalized,
  kPreFf2Out,
  kExpertsIn,
  kExpertsOut,
  kPostFf2In,
  kPostFf2Scale,
  kPostFf2Normalized,
  kPostFf2Out,
  kLn2PostIn,
  kLn2PostScale,
  kLn2PostNormalized,
  kLn2PostOut,
  kPleGateIn,
  kPleGateOut,
  kPerLayerInput,
  kPleProjectionIn,
  kPleProjectionOut,
  kPleNormIn,
  kPleNormScale,
  kPleNormNormalized,
  kPleNormOut,
  kBlockOut,
  // After the blocks.
  kLnFinalIn,
  kLnFinalScale,
  kLnFinalNormalized,
  kLnFinalOut,
  kUnembedIn,
  kUnembedOut,
  kLogits,
  kCount,
};

// The size of an axis, as a quantity of the config, or of the layer's config where layers differ.
enum class Extent {
  kNone,
  kPosition,
  kKeyPosition,
  kHead,
  kKeyValueHead,
  kModel,      // d_model
  kHeadWidth,  // d_head of the layer
  kSlidingHeadWidth,
  kFullHeadWidth,
  kMlp,  // d_mlp of the layer
  kExpert,
  kChosenExpert,   // n_experts_per_token
  kPerLayerInput,  // d_per_layer_input
  kVocab,
  kOne,
};

// The dtype in which a hook point's tensor is read and written; kCompute is the model's own. A few
// places compute in a wider one (norm scales are float32 inside): what is read there is rounded.
enum class HookDtype { kCompute, kFloat32, kInt64 };

struct SiteRow {
  Site site;
  Component component;
  // The hook's own name, which follows the component's name and a dot; alone for Component::kModel.
  absl::string_view hook;
  std::array<Extent, 3> axes;
  // Aliases, space-separated; in a layer without their "blocks.<i>.".
  absl::string_view aliases = "";
  HookDtype dtype = HookDtype::kCompute;
  // Where the site exists, if not wherever its component does.
  Presence presence = Presence::kAlways;
  // If not empty: the hook point can only be read, and this says why and what to write instead.
  absl::string_view read_only = "";
};

absl::Span<const SiteRow> SiteTable();

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_SITES_H_
