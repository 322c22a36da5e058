// Which hook points a write at another one changes, and which it does not.
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "model/text/text_model.h"
#include "tests/unit/model/every_model.h"
#include "tests/unit/model/random_tensor.h"
#include "tests/unit/model/recording_tap.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::MakeTinyModel;
using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::Pass;
using ::hookwire::testing::RandomTensor;
using ::hookwire::testing::RecordingTap;
using ::hookwire::testing::SameBits;
using ::hookwire::testing::ThreeSequences;
using ::hookwire::testing::TinyModel;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;

at::Tensor Disturb(const at::Tensor& value) {
  return value + (RandomTensor(value.sizes(), 99) * 0.5).to(value.scalar_type());
}

// A pass without and with one write, everything read in both.
class Written {
 public:
  Written(const TextModel& model, Numerics numerics, const std::string& name,
          const RecordingTap::Write& write = Disturb)
      : before_(model.catalogue()), after_(model.catalogue()) {
    before_.ReadEverything();
    after_.ReadEverything();
    after_.WriteAt(name, write);
    Pass(model, ThreeSequences(), numerics, before_);
    Pass(model, ThreeSequences(), numerics, after_);
  }

  // Whether the write changes this hook point, in the longest sequence.
  bool Changes(const std::string& name) const {
    return !SameBits(before_.Seen(name, 1), after_.Seen(name, 1));
  }
  const at::Tensor& Before(const std::string& name) const { return before_.Seen(name, 1); }
  const at::Tensor& After(const std::string& name) const { return after_.Seen(name, 1); }

 private:
  RecordingTap before_;
  RecordingTap after_;
};

class Writes : public ::testing::TestWithParam<Numerics> {};

INSTANTIATE_TEST_SUITE_P(In, Writes, ::testing::Values(Numerics::kFast, Numerics::kReference),
                         [](const auto& info) {
                           return info.param == Numerics::kFast ? "Fast" : "Reference";
                         });

// A write to one branch's input changes neither the other branches nor the residual stream.
struct Branch {
  TinyVariant variant;
  const char* written;
  std::vector<const char*> reached;
  std::vector<const char*> untouched;
};

const std::vector<Branch>& Branches() {
  static const auto* branches = new std::vector<Branch>{
      {TinyVariant::kEType,
       "ln1.hook_in",
       {"attn.hook_in", "attn.q.hook_in", "attn.k.hook_in", "hook_attn_out", "hook_resid_mid"},
       {"hook_resid_pre"}},
      {TinyVariant::kEType,
       "attn.hook_in",
       {"attn.q.hook_in", "attn.k.hook_in", "attn.v.hook_in"},
       {"ln1.hook_out"}},
      {TinyVariant::kEType,
       "attn.q.hook_in",
       {"attn.hook_q", "attn.hook_pattern"},
       {"attn.k.hook_in", "attn.v.hook_in", "attn.hook_k", "attn.hook_v", "attn.hook_in"}},
      {TinyVariant::kEType,
       "attn.k.hook_in",
       {"attn.hook_k", "attn.hook_pattern"},
       {"attn.q.hook_in", "attn.v.hook_in", "attn.hook_q", "attn.hook_v"}},
      {TinyVariant::kEType,
       "attn.v.hook_in",
       {"attn.hook_v", "attn.hook_z"},
       {"attn.hook_q", "attn.hook_k", "attn.hook_pattern"}},
      {TinyVariant::kEType,
       "ln2.hook_in",
       {"ln2.hook_out", "hook_mlp_out", "hook_resid_post"},
       {"hook_resid_mid"}},
      {TinyVariant::kEType,
       "mlp.gate.hook_in",
       {"mlp.hook_pre"},
       {"mlp.in.hook_in", "mlp.hook_in"}},
      {TinyVariant::kEType,
       "mlp.in.hook_in",
       {"mlp.hook_pre_linear"},
       {"mlp.gate.hook_in", "mlp.hook_pre"}},
      {TinyVariant::kEType,
       "hook_resid_mid",
       {"ln2.hook_in", "hook_mlp_out", "per_layer_input_gate.hook_in", "hook_resid_post"},
       {"hook_attn_out", "hook_resid_pre"}},
      {TinyVariant::kEType,
       "per_layer_input_gate.hook_in",
       {"per_layer_input_gate.hook_out", "hook_ple_out", "hook_resid_post"},
       {"hook_mlp_out", "hook_resid_mid", "hook_per_layer_input"}},
      {TinyVariant::kEType,
       "hook_per_layer_input",
       {"per_layer_projection.hook_in", "hook_ple_out"},
       {"per_layer_input_gate.hook_out"}},
      {TinyVariant::kMoe,
       "hook_resid_mid",
       {"ln2.hook_in", "router.hook_in", "pre_feedforward_layernorm_2.hook_in", "hook_resid_post"},
       {"hook_attn_out"}},
      {TinyVariant::kMoe,
       "ln2.hook_in",
       {"mlp.hook_out"},
       {"router.hook_in", "pre_feedforward_layernorm_2.hook_in", "experts.hook_out"}},
      {TinyVariant::kMoe,
       "router.hook_in",
       {"router.hook_scores", "router.hook_out", "router.hook_weights", "experts.hook_out"},
       {"pre_feedforward_layernorm_2.hook_in", "experts.hook_in", "mlp.hook_out",
        "hook_resid_mid"}},
      {TinyVariant::kMoe,
       "pre_feedforward_layernorm_2.hook_in",
       {"experts.hook_in", "experts.hook_out"},
       {"router.hook_in", "router.hook_out", "ln2.hook_in", "hook_resid_mid"}},
      {TinyVariant::kMoe,
       "router.hook_weights",
       {"experts.hook_out"},
       {"router.hook_out", "router.hook_indices", "experts.hook_in"}},
  };
  return *branches;
}

TEST_P(Writes, ReachTheReadersOfThePlaceAndNoOthers) {
  for (const Branch& branch : Branches()) {
    const TextModel& model = TinyModel(branch.variant);
    for (const int layer : {0, 1}) {
      // In the other variants, the values of full layers are their keys (K==V).
      if (branch.variant != TinyVariant::kEType && layer == 1) continue;
      const std::string block = absl::StrCat("blocks.", layer, ".");
      const Written written(model, GetParam(), block + branch.written);
      EXPECT_TRUE(written.Changes(block + branch.written));
      for (const char* rest : branch.reached) {
        EXPECT_TRUE(written.Changes(block + rest)) << branch.written << " does not reach " << rest;
      }
      for (const char* rest : branch.untouched) {
        EXPECT_FALSE(written.Changes(block + rest)) << branch.written << " reaches " << rest;
      }
      EXPECT_TRUE(written.Changes("hook_logits")) << branch.written;
    }
  }
}

TEST_P(Writes, WhatWasWrittenIsWhatReadersSee) {
  const TextModel& model = TinyModel(TinyVariant::kMoe);
  const Written written(model, GetParam(), "blocks.1.hook_resid_mid");
  const at::Tensor& value = written.After("blocks.1.hook_resid_mid");
  for (const char* reader :
       {"ln2.hook_in", "router.hook_in", "pre_feedforward_layernorm_2.hook_in"}) {
    EXPECT_TRUE(SameBits(written.After(absl::StrCat("blocks.1.", reader)), value)) << reader;
  }
}

TEST_P(Writes, InAnEarlierLayerAreNotUndoneByTheStream) {
  const TextModel& model = TinyModel();
  const Written written(model, GetParam(), "blocks.2.hook_out",
                        [](const at::Tensor& x) { return at::zeros_like(x); });
  EXPECT_EQ(written.After("blocks.3.hook_in").abs().max().item<float>(), 0);
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_FALSE(written.Changes(absl::StrCat("blocks.", layer, ".hook_out")));
  }
}

TEST_P(Writes, AtTheEmbeddingReachPerLayerInputsAndAtTheFirstBlockDoNot) {
  const TextModel& model = TinyModel();
  const Written embedding(model, GetParam(), "embed.hook_out");
  EXPECT_TRUE(embedding.Changes("blocks.0.hook_in"));
  EXPECT_TRUE(embedding.Changes("blocks.0.hook_per_layer_input"));
  EXPECT_TRUE(embedding.Changes("blocks.5.hook_per_layer_input"));
  const Written block(model, GetParam(), "blocks.0.hook_in");
  EXPECT_FALSE(block.Changes("blocks.0.hook_per_layer_input"));
  EXPECT_FALSE(block.Changes("blocks.5.hook_per_layer_input"));
}

TEST_P(Writes, AtRotaryFactorsReachLayersOfTheirTypeAlone) {
  const TextModel& model = TinyModel();
  const Written sliding(model, GetParam(), "rotary_emb.sliding_attention.hook_cos");
  EXPECT_TRUE(sliding.Changes("blocks.0.attn.hook_rot_q"));
  EXPECT_TRUE(sliding.Changes("blocks.0.attn.hook_rot_k"));
  EXPECT_FALSE(sliding.Changes("blocks.0.attn.hook_rot_v"));
  EXPECT_FALSE(sliding.Changes("rotary_emb.full_attention.hook_cos"));
  const Written full(model, GetParam(), "rotary_emb.full_attention.hook_sin");
  EXPECT_FALSE(full.Changes("blocks.0.attn.hook_rot_q"));
  EXPECT_TRUE(full.Changes("blocks.1.attn.hook_rot_q"));
}

// Layers 4 and 6 reuse the keys and values of layer 2; 5 and 7 those of layer 3.
const TextModel& TwoSharers() {
  static const auto* model = [] {
    TinyOptions options;
    options.layers = "sfsfsfsf";
    options.n_key_value_shared_layers = 4;
    return MakeTinyModel(options).release();
  }();
  return *model;
}

TEST_P(Writes, AtASharedLayersKeysStayInThatLayer) {
  for (const char* place : {"attn.hook_rot_k", "attn.hook_rot_v"}) {
    const Written written(TwoSharers(), GetParam(), absl::StrCat("blocks.4.", place));
    EXPECT_TRUE(written.Changes(absl::StrCat("blocks.4.", place)));
    EXPECT_TRUE(written.Changes("blocks.4.attn.hook_z"));
    EXPECT_TRUE(written.Changes("blocks.6.hook_resid_pre"));
    EXPECT_FALSE(written.Changes(absl::StrCat("blocks.2.", place)));
    EXPECT_FALSE(written.Changes(absl::StrCat("blocks.5.", place)));
    EXPECT_FALSE(written.Changes(absl::StrCat("blocks.6.", place)));
  }
}

TEST_P(Writes, AtASourcesKeysReachEachLayerThatReusesThem) {
  for (const char* place : {"attn.hook_rot_k", "attn.hook_rot_v"}) {
    const Written written(TwoSharers(), GetParam(), absl::StrCat("blocks.2.", place));
    const at::Tensor& value = written.After(absl::StrCat("blocks.2.", place));
    EXPECT_TRUE(SameBits(written.After(absl::StrCat("blocks.4.", place)), value));
    EXPECT_TRUE(SameBits(written.After(absl::StrCat("blocks.6.", place)), value));
    EXPECT_TRUE(written.Changes("blocks.2.attn.hook_z"));
    EXPECT_FALSE(written.Changes(absl::StrCat("blocks.0.", place)));
    EXPECT_TRUE(SameBits(written.After(absl::StrCat("blocks.5.", place)),
                         written.After(absl::StrCat("blocks.3.", place))));
  }
}

TEST_P(Writes, AtKeysReachValuesWhereKeysAreValues) {
  const TextModel& model = TinyModel(TinyVariant::kDense);
  const Written keys(model, GetParam(), "blocks.1.attn.k.hook_out");
  EXPECT_TRUE(keys.Changes("blocks.1.attn.hook_rot_k"));
  EXPECT_TRUE(keys.Changes("blocks.1.attn.v_norm.hook_in"));
  const Written keys_alone(model, GetParam(), "blocks.1.attn.k_norm.hook_in");
  EXPECT_TRUE(keys_alone.Changes("blocks.1.attn.hook_rot_k"));
  EXPECT_FALSE(keys_alone.Changes("blocks.1.attn.v_norm.hook_in"));
  EXPECT_FALSE(keys_alone.Changes("blocks.1.attn.hook_rot_v"));
  const Written values_alone(model, GetParam(), "blocks.1.attn.v_norm.hook_in");
  EXPECT_FALSE(values_alone.Changes("blocks.1.attn.hook_rot_k"));
  EXPECT_TRUE(values_alone.Changes("blocks.1.attn.hook_rot_v"));
}

TEST_P(Writes, MinusInfinityAtAScoreKnocksAttentionOut) {
  const Written written(TinyModel(), GetParam(), "blocks.1.attn.hook_attn_scores",
                        [](const at::Tensor& scores) {
                          at::Tensor out = scores.clone();
                          // The other sequences are too short.
                          if (out.size(1) > 5)
                            out[2][5][0] = -std::numeric_limits<float>::infinity();
                          return out;
                        });
  const at::Tensor& pattern = written.After("blocks.1.attn.hook_pattern");
  EXPECT_EQ(pattern[2][5][0].item<float>(), 0);
  EXPECT_NEAR(pattern[2][5].sum().item<float>(), 1, 1e-6);
  EXPECT_TRUE(SameBits(pattern[1], written.Before("blocks.1.attn.hook_pattern")[1]));
}

TEST_P(Writes, AtThePatternAreMixedAsTheyAre) {
  // All attention to the first token: z is its value.
  const Written written(TinyModel(), GetParam(), "blocks.1.attn.hook_pattern",
                        [](const at::Tensor& pattern) {
                          at::Tensor out = at::zeros_like(pattern);
                          out.select(2, 0).fill_(1);
                          return out;
                        });
  const at::Tensor z = written.After("blocks.1.attn.hook_z");  // [7, 4, 16]
  const at::Tensor v = written.After("blocks.1.attn.hook_rot_v");
  EXPECT_LT(MaxDifference(z[6][3], v[0][1]), 1e-6);
  EXPECT_FALSE(written.Changes("blocks.1.attn.hook_attn_scores"));
}

TEST_P(Writes, AtTheRoutersProbabilitiesChooseTheExpertsAgain) {
  const TextModel& model = TinyModel(TinyVariant::kMoe);
  const Written written(model, GetParam(), "blocks.0.router.hook_out", [](const at::Tensor& x) {
    at::Tensor out = at::zeros_like(x);
    out.select(1, 3).fill_(0.75);
    out.select(1, 1).fill_(0.25);
    return out;
  });
  const at::Tensor& indices = written.After("blocks.0.router.hook_indices");
  EXPECT_TRUE((indices.select(1, 0) == 3).all().item<bool>());
  EXPECT_TRUE((indices.select(1, 1) == 1).all().item<bool>());
  EXPECT_TRUE(written.Changes("blocks.0.experts.hook_out"));
  EXPECT_FALSE(written.Changes("blocks.0.router.hook_scores"));
}

TEST_P(Writes, AtANormsScaleDivideByIt) {
  for (const char* norm : {"blocks.1.ln1", "blocks.1.attn.q_norm", "ln_final"}) {
    const Written written(TinyModel(), GetParam(), absl::StrCat(norm, ".hook_scale"),
                          [](const at::Tensor& scale) { return scale * 2; });
    EXPECT_FALSE(written.Changes(absl::StrCat(norm, ".hook_in")));
    EXPECT_LT(MaxDifference(written.After(absl::StrCat(norm, ".hook_normalized")) * 2,
                            written.Before(absl::StrCat(norm, ".hook_normalized"))),
              1e-5);
    EXPECT_LT(MaxDifference(written.After(absl::StrCat(norm, ".hook_out")) * 2,
                            written.Before(absl::StrCat(norm, ".hook_out"))),
              1e-4);
  }
}

TEST_P(Writes, AtANormalizedValueAreStillWeighted) {
  const Written written(TinyModel(), GetParam(), "blocks.1.ln1.hook_normalized",
                        [](const at::Tensor& x) { return x * 3; });
  EXPECT_FALSE(written.Changes("blocks.1.ln1.hook_scale"));
  EXPECT_LT(MaxDifference(written.After("blocks.1.ln1.hook_out"),
                          written.Before("blocks.1.ln1.hook_out") * 3),
            1e-4);
}

// --- Head paths.

// Changes one head's input, at all positions.
RecordingTap::Write OneHead(int64_t head) {
  return [head](const at::Tensor& input) {
    at::Tensor out = input.clone();
    out.select(1, head).copy_(Disturb(input.select(1, head).contiguous()));
    return out;
  };
}

TEST_P(Writes, AtAHeadsInputChangeThatHeadAlone) {
  struct HeadCase {
    const char* input;
    const char* output;
    int64_t n_heads;
  };
  for (const HeadCase& head_case :
       {HeadCase{"hook_q_input", "attn.hook_q", 4}, HeadCase{"hook_k_input", "attn.hook_k", 2},
        HeadCase{"hook_v_input", "attn.hook_v", 2}}) {
    const std::string input = absl::StrCat("blocks.1.", head_case.input);
    const std::string output = absl::StrCat("blocks.1.", head_case.output);
    const Written written(TinyModel(), GetParam(), input, OneHead(1));
    for (int64_t head = 0; head < head_case.n_heads; ++head) {
      EXPECT_EQ(
          SameBits(written.After(output).select(1, head), written.Before(output).select(1, head)),
          head != 1)
          << input << " " << head;
    }
    for (const char* other : {"hook_resid_pre", "ln1.hook_in", "ln1.hook_out", "attn.hook_in"}) {
      EXPECT_FALSE(written.Changes(absl::StrCat("blocks.1.", other))) << input << " " << other;
    }
    for (const char* other : {"attn.hook_q", "attn.hook_k", "attn.hook_v"}) {
      if (std::string(other) == head_case.output) continue;
      EXPECT_FALSE(written.Changes(absl::StrCat("blocks.1.", other))) << input << " " << other;
    }
    EXPECT_TRUE(written.Changes("hook_logits"));
  }
}

TEST_P(Writes, AtAllHeadsInputsAreWritesAtTheBranch) {
  const at::Tensor noise = RandomTensor({7, 32}, 5);
  const auto add = [&noise](const at::Tensor& x) {  // [pos, d_model]
    return x + noise.narrow(0, 0, x.size(0));
  };
  const auto add_to_heads = [&noise](const at::Tensor& x) {  // [pos, head, d_model]
    return x + noise.narrow(0, 0, x.size(0)).unsqueeze(1);
  };
  const TextModel& model = TinyModel();
  RecordingTap heads(model.catalogue());
  RecordingTap branch(model.catalogue());
  heads.Read("blocks.1.attn.hook_q").Read("blocks.1.attn.hook_k").Read("blocks.1.attn.hook_v");
  branch.Read("blocks.1.attn.hook_q").Read("blocks.1.attn.hook_k").Read("blocks.1.attn.hook_v");
  for (const char* input : {"hook_q_input", "hook_k_input", "hook_v_input"}) {
    heads.WriteAt(absl::StrCat("blocks.1.", input), add_to_heads);
  }
  branch.WriteAt("blocks.1.ln1.hook_in", add);
  const auto by_heads = Pass(model, ThreeSequences(), GetParam(), heads);
  const auto by_branch = Pass(model, ThreeSequences(), GetParam(), branch);
  for (int s = 0; s < 3; ++s) {
    for (const char* place : {"hook_q", "hook_k", "hook_v"}) {
      const std::string name = absl::StrCat("blocks.1.attn.", place);
      EXPECT_LT(MaxDifference(heads.Seen(name, s), branch.Seen(name, s)), 2e-5) << name;
    }
    EXPECT_LT(MaxDifference(by_heads[static_cast<size_t>(s)], by_branch[static_cast<size_t>(s)]),
              5e-4);
  }
}

TEST_P(Writes, AtOnePositionOfAHeadsInputChangeThatPositionAlone) {
  const Written written(TinyModel(), GetParam(), "blocks.1.hook_q_input",
                        [](const at::Tensor& input) {
                          at::Tensor out = input.clone();
                          if (input.size(0) > 3) out[3][2] += 1;
                          return out;
                        });
  const at::Tensor& after = written.After("blocks.1.attn.hook_q");
  const at::Tensor& before = written.Before("blocks.1.attn.hook_q");
  for (int64_t position = 0; position < 7; ++position) {
    for (int64_t head = 0; head < 4; ++head) {
      EXPECT_EQ(SameBits(after[position][head], before[position][head]),
                !(position == 3 && head == 2))
          << position << " " << head;
    }
  }
}

TEST_P(Writes, AtAHeadsResultAddTheChange) {
  const Written written(TinyModel(), GetParam(), "blocks.1.attn.hook_result",
                        [](const at::Tensor& result) {
                          at::Tensor out = result.clone();
                          out.select(1, 2).zero_();  // ablates head 2
                          return out;
                        });
  const at::Tensor expected = written.Before("blocks.1.attn.hook_out") -
                              written.Before("blocks.1.attn.hook_result").select(1, 2);
  EXPECT_LT(MaxDifference(written.After("blocks.1.attn.hook_out"), expected), 1e-5);
  EXPECT_FALSE(written.Changes("blocks.1.attn.hook_z"));
  EXPECT_TRUE(written.Changes("blocks.1.hook_attn_out"));
}

TEST_P(Writes, ApplyInTheOrderOfThePassAtEachPlace) {
  const TextModel& model = TinyModel();
  RecordingTap tap(model.catalogue());
  tap.Read("blocks.0.hook_resid_post");
  tap.WriteAt("blocks.0.hook_out", [](const at::Tensor& x) { return x * 0 + 2; });
  tap.WriteAt("blocks.0.hook_out", [](const at::Tensor& x) { return x * 5; });
  tap.WriteAt("blocks.1.hook_in", [](const at::Tensor& x) { return x + 1; });
  Pass(model, ThreeSequences(), GetParam(), tap);
  EXPECT_EQ(tap.Seen("blocks.0.hook_out")[0][0].item<float>(), 10);
  EXPECT_EQ(tap.Seen("blocks.1.hook_in")[0][0].item<float>(), 11);
}

}  // namespace
}  // namespace hookwire::model
