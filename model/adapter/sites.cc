#include "model/adapter/sites.h"

namespace hookwire::model {
namespace {

using S = Site;
using C = Component;
using E = Extent;

constexpr std::array<E, 3> kTokens = {E::kPosition, E::kNone, E::kNone};
constexpr std::array<E, 3> kStream = {E::kPosition, E::kModel, E::kNone};
constexpr std::array<E, 3> kHeads = {E::kPosition, E::kHead, E::kHeadWidth};
constexpr std::array<E, 3> kKeyValueHeads = {E::kPosition, E::kKeyValueHead, E::kHeadWidth};
constexpr std::array<E, 3> kHeadStreams = {E::kPosition, E::kHead, E::kModel};
constexpr std::array<E, 3> kKeyValueHeadStreams = {E::kPosition, E::kKeyValueHead, E::kModel};
constexpr std::array<E, 3> kScores = {E::kHead, E::kPosition, E::kKeyPosition};
constexpr std::array<E, 3> kMlpWidth = {E::kPosition, E::kMlp, E::kNone};
constexpr std::array<E, 3> kExperts = {E::kPosition, E::kExpert, E::kNone};
constexpr std::array<E, 3> kChosen = {E::kPosition, E::kChosenExpert, E::kNone};
constexpr std::array<E, 3> kPerLayer = {E::kPosition, E::kPerLayerInput, E::kNone};
constexpr std::array<E, 3> kVocab = {E::kPosition, E::kVocab, E::kNone};
constexpr std::array<E, 3> kSlidingRotary = {E::kPosition, E::kSlidingHeadWidth, E::kNone};
constexpr std::array<E, 3> kFullRotary = {E::kPosition, E::kFullHeadWidth, E::kNone};
// The axes of a norm's divisor: one number for each row.
constexpr std::array<E, 3> kScale = {E::kPosition, E::kOne, E::kNone};
constexpr std::array<E, 3> kHeadScale = {E::kPosition, E::kHead, E::kOne};
constexpr std::array<E, 3> kKeyValueHeadScale = {E::kPosition, E::kKeyValueHead, E::kOne};

constexpr absl::string_view kTokensAreInput =
    "token ids are the request's own: send other tokens, or write embed.hook_out";
constexpr absl::string_view kRotaryInputUnread =
    "only its dtype is read; write the hook_cos and hook_sin beside it";
constexpr absl::string_view kIndicesFollow =
    "the chosen experts follow from the router's probabilities: write router.hook_out, "
    "router.hook_scores or "
    "router.hook_weights";

// Indexed by Site.
constexpr SiteRow kSites[] = {
    {S::kEmbedIn, C::kEmbed, "hook_in", kTokens, "", HookDtype::kInt64, Presence::kAlways,
     kTokensAreInput},
    {S::kEmbedOut, C::kEmbed, "hook_out", kStream, "hook_embed"},
    {S::kRotarySlidingIn, C::kRotarySliding, "hook_in", kStream, "", HookDtype::kCompute,
     Presence::kAlways, kRotaryInputUnread},
    {S::kRotarySlidingCos, C::kRotarySliding, "hook_cos", kSlidingRotary},
    {S::kRotarySlidingSin, C::kRotarySliding, "hook_sin", kSlidingRotary},
    {S::kRotaryFullIn, C::kRotaryFull, "hook_in", kStream, "", HookDtype::kCompute,
     Presence::kAlways, kRotaryInputUnread},
    {S::kRotaryFullCos, C::kRotaryFull, "hook_cos", kFullRotary},
    {S::kRotaryFullSin, C::kRotaryFull, "hook_sin", kFullRotary},
    {S::kBlockIn, C::kBlock, "hook_in", kStream, "hook_resid_pre"},
    {S::kQInput, C::kAttn, "hook_q_input", kHeadStreams, "hook_q_input"},
    {S::kKInput, C::kAttn, "hook_k_input", kKeyValueHeadStreams, "hook_k_input",
     HookDtype::kCompute, Presence::kOwnKeyValues},
    {S::kVInput, C::kAttn, "hook_v_input", kKeyValueHeadStreams, "hook_v_input",
     HookDtype::kCompute, Presence::kOwnValues},
    {S::kLn1In, C::kLn1, "hook_in", kStream, "attn.hook_attn_in hook_attn_in"},
    {S::kLn1Scale, C::kLn1, "hook_scale", kScale},
    {S::kLn1Normalized, C::kLn1, "hook_normalized", kStream},
    {S::kLn1Out, C::kLn1, "hook_out", kStream},
    {S::kAttnIn, C::kAttn, "hook_in", kStream},
    {S::kQIn, C::kQ, "hook_in", kStream},
    {S::kQOut, C::kQ, "hook_out", kHeads, "attn.hook_q"},
    {S::kQNormIn, C::kQNorm, "hook_in", kHeads},
    {S::kQNormScale, C::kQNorm, "hook_scale", kHeadScale},
    {S::kQNormNormalized, C::kQNorm, "hook_normalized", kHeads},
    {S::kQNormOut, C::kQNorm, "hook_out", kHeads},
    {S::kRotQ, C::kAttn, "hook_rot_q", kHeads},
    {S::kKIn, C::kK, "hook_in", kStream},
    {S::kKOut, C::kK, "hook_out", kKeyValueHeads, "attn.hook_k"},
    {S::kVIn, C::kV, "hook_in", kStream},
    {S::kVOut, C::kV, "hook_out", kKeyValueHeads, "attn.hook_v"},
    {S::kKNormIn, C::kKNorm, "hook_in", kKeyValueHeads},
    {S::kKNormScale, C::kKNorm, "hook_scale", kKeyValueHeadScale},
    {S::kKNormNormalized, C::kKNorm, "hook_normalized", kKeyValueHeads},
    {S::kKNormOut, C::kKNorm, "hook_out", kKeyValueHeads},
    {S::kVNormIn, C::kVNorm, "hook_in", kKeyValueHeads},
    {S::kVNormScale, C::kVNorm, "hook_scale", kKeyValueHeadScale},
    {S::kVNormNormalized, C::kVNorm, "hook_normalized", kKeyValueHeads},
    {S::kVNormOut, C::kVNorm, "hook_out", kKeyValueHeads},
    {S::kRotK, C::kAttn, "hook_rot_k", kKeyValueHeads},
    {S::kRotV, C::kAttn, "hook_rot_v", kKeyValueHeads},
    {S::kAttnScores, C::kAttn, "hook_attn_scores", kScores},
    {S::kPattern, C::kAttn, "hook_pattern", kScores},
    {S::kOIn, C::kO, "hook_in", kHeads, "attn.hook_z"},
    {S::kResult, C::kAttn, "hook_result", kHeadStreams},
    {S::kOOut, C::kO, "hook_out", kStream},
    {S::kAttnOut, C::kAttn, "hook_out", kStream},
    {S::kLn1PostIn, C::kLn1Post, "hook_in", kStream},
    {S::kLn1PostScale, C::kLn1Post, "hook_scale", kScale},
    {S::kLn1PostNormalized, C::kLn1Post, "hook_normalized", kStream},
    {S::kLn1PostOut, C::kLn1Post, "hook_out", kStream, "hook_attn_out"},
    {S::kResidMid, C::kBlock, "hook_resid_mid", kStream},
    {S::kLn2In, C::kLn2, "hook_in", kStream, "hook_mlp_in"},
    {S::kLn2Scale, C::kLn2, "hook_scale", kScale},
    {S::kLn2Normalized, C::kLn2, "hook_normalized", kStream},
    {S::kLn2Out, C::kLn2, "hook_out", kStream},
    {S::kMlpIn, C::kMlp, "hook_in", kStream},
    {S::kGateIn, C::kMlpGate, "hook_in", kStream},
    {S::kGateOut, C::kMlpGate, "hook_out", kMlpWidth, "mlp.hook_pre"},
    {S::kUpIn, C::kMlpIn, "hook_in", kStream},
    {S::kUpOut, C::kMlpIn, "hook_out", kMlpWidth, "mlp.hook_pre_linear"},
    {S::kDownIn, C::kMlpOut, "hook_in", kMlpWidth, "mlp.hook_post"},
    {S::kDownOut, C::kMlpOut, "hook_out", kStream},
    {S::kMlpOut, C::kMlp, "hook_out", kStream},
    {S::kPostFf1In, C::kPostFeedforwardNorm1, "hook_in", kStream},
    {S::kPostFf1Scale, C::kPostFeedforwardNorm1, "hook_scale", kScale},
    {S::kPostFf1Normalized, C::kPostFeedforwardNorm1, "hook_normalized", kStream},
    {S::kPostFf1Out, C::kPostFeedforwardNorm1, "hook_out", kStream},
    {S::kRouterIn, C::kRouter, "hook_in", kStream},
    {S::kRouterScores, C::kRouter, "hook_scores", kExperts},
    {S::kRouterOut, C::kRouter, "hook_out", kExperts, "", HookDtype::kFloat32},
    {S::kRouterWeights, C::kRouter, "hook_weights", kChosen, "", HookDtype::kFloat32},
    {S::kRouterIndices, C::kRouter, "hook_indices", kChosen, "", HookDtype::kInt64,
     Presence::kAlways, kIndicesFollow},
    {S::kPreFf2In, C::kPreFeedforwardNorm2, "hook_in", kStream},
    {S::kPreFf2Scale, C::kPreFeedforwardNorm2, "hook_scale", kScale},
    {S::kPreFf2Normalized, C::kPreFeedforwardNorm2, "hook_normalized", kStream},
    {S::kPreFf2Out, C::kPreFeedforwardNorm2, "hook_out", kStream},
    {S::kExpertsIn, C::kExperts, "hook_in", kStream},
    {S::kExpertsOut, C::kExperts, "hook_out", kStream},
    {S::kPostFf2In, C::kPostFeedforwardNorm2, "hook_in", kStream},
    {S::kPostFf2Scale, C::kPostFeedforwardNorm2, "hook_scale", kScale},
    {S::kPostFf2Normalized, C::kPostFeedforwardNorm2, "hook_normalized", kStream},
    {S::kPostFf2Out, C::kPostFeedforwardNorm2, "hook_out", kStream},
    {S::kLn2PostIn, C::kLn2Post, "hook_in", kStream},
    {S::kLn2PostScale, C::kLn2Post, "hook_scale", kScale},
    {S::kLn2PostNormalized, C::kLn2Post, "hook_normalized", kStream},
    {S::kLn2PostOut, C::kLn2Post, "hook_out", kStream, "hook_mlp_out"},
    {S::kPleGateIn, C::kPerLayerInputGate, "hook_in", kStream},
    {S::kPleGateOut, C::kPerLayerInputGate, "hook_out", kPerLayer},
    {S::kPerLayerInput, C::kBlock, "hook_per_layer_input", kPerLayer, "", HookDtype::kCompute,
     Presence::kPerLayerInputs},
    {S::kPleProjectionIn, C::kPerLayerProjection, "hook_in", kPerLayer},
    {S::kPleProjectionOut, C::kPerLayerProjection, "hook_out", kStream},
    {S::kPleNormIn, C::kPostPerLayerInputNorm, "hook_in", kStream},
    {S::kPleNormScale, C::kPostPerLayerInputNorm, "hook_scale", kScale},
    {S::kPleNormNormalized, C::kPostPerLayerInputNorm, "hook_normalized", kStream},
    {S::kPleNormOut, C::kPostPerLayerInputNorm, "hook_out", kStream, "hook_ple_out"},
    {S::kBlockOut, C::kBlock, "hook_out", kStream, "hook_resid_post"},
    {S::kLnFinalIn, C::kLnFinal, "hook_in", kStream},
    {S::kLnFinalScale, C::kLnFinal, "hook_scale", kScale},
    {S::kLnFinalNormalized, C::kLnFinal, "hook_normalized", kStream},
    {S::kLnFinalOut, C::kLnFinal, "hook_out", kStream},
    {S::kUnembedIn, C::kUnembed, "hook_in", kStream},
    {S::kUnembedOut, C::kUnembed, "hook_out", kVocab, "hook_unembed"},
    {S::kLogits, C::kModel, "hook_logits", kVocab},
};

static_assert(std::size(kSites) == static_cast<size_t>(Site::kCount));

constexpr bool InOrder() {
  for (size_t i = 0; i < std::size(kSites); ++i) {
    if (kSites[i].site != static_cast<Site>(i)) return false;
  }
  return true;
}
static_assert(InOrder(), "the table is indexed by Site");

}  // namespace

absl::Span<const SiteRow> SiteTable() { return kSites; }

}  // namespace hookwire::model
