// Equations between the values at different hook points of one pass.
#include <ATen/ops/matmul.h>

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

using ::hookwire::testing::AllModels;
using ::hookwire::testing::EveryModel;
using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::ModelName;
using ::hookwire::testing::Pass;
using ::hookwire::testing::RecordingTap;
using ::hookwire::testing::SameBits;
using ::hookwire::testing::ThreeSequences;

// Values here are of the order of 1 to 10, in float32.
constexpr double kClose = 2e-5;

class Identities : public EveryModel {
 protected:
  void SetUp() override {
    tap_.ReadEverything();
    logits_ = Pass(Model(), ThreeSequences(), numerics(), tap_);
  }
  const at::Tensor& At(int layer, const std::string& rest, int s) const {
    return tap_.Seen(absl::StrCat("blocks.", layer, ".", rest), s);
  }
  // Calls f for each layer and sequence.
  template <typename F>
  void ForEach(F&& f) const {
    for (int layer = 0; layer < Model().config().n_layers(); ++layer) {
      for (int s = 0; s < 3; ++s) f(layer, s);
    }
  }
  const LayerConfig& Layer(int layer) const {
    return Model().config().layers[static_cast<size_t>(layer)];
  }

  RecordingTap tap_{Model().catalogue()};
  std::vector<at::Tensor> logits_;
};

TEST_P(Identities, HeadResultsSumToTheAttentionsOutput) {
  ForEach([this](int layer, int s) {
    EXPECT_LT(MaxDifference(At(layer, "attn.hook_result", s).sum(1), At(layer, "attn.hook_out", s)),
              kClose)
        << layer;
  });
}

TEST_P(Identities, TheStreamIsTheSumOfWhatIsAddedToIt) {
  ForEach([this](int layer, int s) {
    const at::Tensor mid = At(layer, "hook_resid_pre", s) + At(layer, "hook_attn_out", s);
    EXPECT_LT(MaxDifference(mid, At(layer, "hook_resid_mid", s)), kClose);
    at::Tensor post = At(layer, "hook_resid_mid", s) + At(layer, "hook_mlp_out", s);
    if (Model().config().has_per_layer_inputs()) post = post + At(layer, "hook_ple_out", s);
    const double scalar = Model().layer_scalars()[static_cast<size_t>(layer)];
    EXPECT_NE(scalar, 1.0);
    EXPECT_LT(MaxDifference(post * scalar, At(layer, "hook_resid_post", s)), kClose);
  });
}

TEST_P(Identities, EachLayerGoesOnWhereTheOneBeforeStopped) {
  for (int s = 0; s < 3; ++s) {
    EXPECT_TRUE(SameBits(tap_.Seen("hook_embed", s), At(0, "hook_resid_pre", s)));
    const int last = Model().config().n_layers() - 1;
    for (int layer = 0; layer < last; ++layer) {
      EXPECT_TRUE(SameBits(At(layer, "hook_resid_post", s), At(layer + 1, "hook_resid_pre", s)));
    }
    EXPECT_TRUE(SameBits(At(last, "hook_resid_post", s), tap_.Seen("ln_final.hook_in", s)));
  }
}

TEST_P(Identities, NormsAreTheirSteps) {
  std::vector<std::string> norms = {"ln_final"};
  ForEach([&](int layer, int s) {
    if (s > 0) return;
    for (const char* norm :
         {"ln1", "ln1_post", "ln2", "ln2_post", "attn.q_norm", "attn.k_norm", "attn.v_norm",
          "post_per_layer_input_norm", "post_feedforward_layernorm_1",
          "pre_feedforward_layernorm_2", "post_feedforward_layernorm_2"}) {
      const std::string name = absl::StrCat("blocks.", layer, ".", norm);
      if (catalogue().Find(name + ".hook_in").ok()) norms.push_back(name);
    }
  });
  EXPECT_GT(norms.size(), 20u);
  for (const std::string& norm : norms) {
    for (int s = 0; s < 3; ++s) {
      const at::Tensor in = tap_.Seen(norm + ".hook_in", s).to(at::kDouble);
      const at::Tensor scale = (in.pow(2).mean(-1, true) + 1e-6).sqrt();
      EXPECT_LT(MaxDifference(tap_.Seen(norm + ".hook_scale", s), scale), kClose) << norm;
      EXPECT_LT(MaxDifference(tap_.Seen(norm + ".hook_normalized", s), in / scale), kClose) << norm;
    }
  }
}

TEST_P(Identities, AttentionIsItsSteps) {
  ForEach([this](int layer, int s) {
    const at::Tensor q = At(layer, "attn.hook_rot_q", s).transpose(0, 1);  // [head, pos, d_head]
    const int64_t group = Layer(layer).n_heads / Layer(layer).n_key_value_heads;
    const at::Tensor k =
        At(layer, "attn.hook_rot_k", s).repeat_interleave(group, 1).transpose(0, 1);
    const at::Tensor v =
        At(layer, "attn.hook_rot_v", s).repeat_interleave(group, 1).transpose(0, 1);
    const at::Tensor scores = At(layer, "attn.hook_attn_scores", s);
    const at::Tensor seen = scores.isinf().logical_not();
    EXPECT_LT(MaxDifference(scores.masked_fill(seen.logical_not(), 0),
                            at::matmul(q, k.transpose(1, 2)).masked_fill(seen.logical_not(), 0)),
              kClose);
    // Which keys each query attends to.
    const int64_t window =
        Layer(layer).type == LayerType::kSliding ? Model().config().sliding_window : 1000;
    for (int64_t i = 0; i < seen.size(1); ++i) {
      for (int64_t j = 0; j < seen.size(2); ++j) {
        EXPECT_EQ(seen[0][i][j].item<bool>(), j <= i && i - j < window) << layer << i << j;
      }
    }
    const at::Tensor pattern = At(layer, "attn.hook_pattern", s);
    EXPECT_LT(MaxDifference(pattern, scores.to(at::kDouble).softmax(-1)), kClose);
    EXPECT_LT(MaxDifference(At(layer, "attn.hook_z", s), at::matmul(pattern, v).transpose(0, 1)),
              kClose);
  });
}

TEST_P(Identities, SharedLayersReadTheirSourcesKeysAndValues) {
  ForEach([this](int layer, int s) {
    if (!Layer(layer).shares_key_values()) return;
    const int source = *Layer(layer).key_value_source;
    EXPECT_TRUE(SameBits(At(layer, "attn.hook_rot_k", s), At(source, "attn.hook_rot_k", s)));
    EXPECT_TRUE(SameBits(At(layer, "attn.hook_rot_v", s), At(source, "attn.hook_rot_v", s)));
  });
}

TEST_P(Identities, ValuesAreKeysWhereTheConfigSaysSo) {
  ForEach([this](int layer, int s) {
    if (!Layer(layer).key_is_value) return;
    EXPECT_TRUE(SameBits(At(layer, "attn.v_norm.hook_in", s), At(layer, "attn.hook_k", s)));
    EXPECT_TRUE(SameBits(At(layer, "attn.v_norm.hook_out", s), At(layer, "attn.hook_rot_v", s)));
  });
}

TEST_P(Identities, TheMlpIsItsParts) {
  ForEach([this](int layer, int s) {
    const at::Tensor gate = At(layer, "mlp.hook_pre", s).to(at::kDouble);
    const at::Tensor tanh = (0.7978845608028654 * (gate + 0.044715 * gate.pow(3))).tanh();
    EXPECT_LT(MaxDifference(At(layer, "mlp.hook_post", s),
                            0.5 * gate * (1 + tanh) * At(layer, "mlp.hook_pre_linear", s)),
              kClose);
    EXPECT_TRUE(SameBits(At(layer, "mlp.out.hook_out", s), At(layer, "mlp.hook_out", s)));
  });
}

TEST_P(Identities, HeadInputsAreTheStream) {
  ForEach([this](int layer, int s) {
    const at::Tensor stream = At(layer, "hook_resid_pre", s).unsqueeze(1);
    for (const char* input : {"hook_q_input", "hook_k_input", "hook_v_input"}) {
      if (!catalogue().Find(absl::StrCat("blocks.", layer, ".", input)).ok()) continue;
      const at::Tensor& seen = At(layer, input, s);
      EXPECT_TRUE(SameBits(seen, stream.expand_as(seen))) << input;
    }
  });
}

TEST_P(Identities, TheRouterIsItsSteps) {
  if (!Model().config().has_experts()) return;
  ForEach([this](int layer, int s) {
    const at::Tensor probabilities = At(layer, "router.hook_out", s);
    EXPECT_LT(MaxDifference(probabilities,
                            At(layer, "router.hook_scores", s).to(at::kDouble).softmax(-1)),
              kClose);
    const at::Tensor indices = At(layer, "router.hook_indices", s);
    EXPECT_TRUE(SameBits(indices, std::get<1>(probabilities.topk(2, -1))));
    EXPECT_TRUE(SameBits(At(layer, "router.hook_in", s), At(layer, "hook_resid_mid", s)));
    EXPECT_TRUE(SameBits(At(layer, "experts.hook_out", s),
                         At(layer, "post_feedforward_layernorm_2.hook_in", s)));
    EXPECT_LT(MaxDifference(At(layer, "post_feedforward_layernorm_1.hook_out", s) +
                                At(layer, "post_feedforward_layernorm_2.hook_out", s),
                            At(layer, "ln2_post.hook_in", s)),
              kClose);
  });
}

TEST_P(Identities, LogitsAreTheUnembeddingSoftlyCapped) {
  for (int s = 0; s < 3; ++s) {
    const at::Tensor raw = tap_.Seen("hook_unembed", s).to(at::kDouble);
    EXPECT_LT(MaxDifference((raw / 30).tanh() * 30, tap_.Seen("hook_logits", s)), kClose);
    EXPECT_TRUE(SameBits(logits_[static_cast<size_t>(s)], tap_.Seen("hook_logits", s)));
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Identities, AllModels(), ModelName);

TEST(Pass, WithoutASoftcapLogitsAreTheUnembedding) {
  testing::TinyOptions options;
  options.final_logit_softcap = 0;
  const auto model = testing::MakeTinyModel(options);
  RecordingTap tap(model->catalogue());
  Pass(*model, ThreeSequences(), Numerics::kFast, tap.ReadEverything());
  EXPECT_TRUE(SameBits(tap.Seen("hook_unembed"), tap.Seen("hook_logits")));
}

}  // namespace
}  // namespace hookwire::model
