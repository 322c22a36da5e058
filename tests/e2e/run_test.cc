// Runs over the wire: what comes, in which order, and that it is the same however it is asked for.

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/raw_call.h"
#include "tests/e2e/support/slices.h"

namespace hookwire::e2e {
namespace {

using client::At;
using client::Capture;
using client::Slice;
using client::Tensor;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

using RunStream = DaemonTest<Fast>;

client::RunResult MustCollect(const client::Client& client, const v1::RunSpec& spec) {
  auto result = client.Collect(spec);
  EXPECT_THAT(StatusOf(result), IsOk());
  return result.ok() ? *std::move(result) : client::RunResult{};
}

const Tensor& MustFind(const client::RunResult& result, const std::string& name,
                       uint32_t sequence = 0) {
  const Tensor* tensor = result.Find(name, sequence);
  if (tensor == nullptr) {
    std::cerr << "no tensor " << name << " of sequence " << sequence << "\n";
    std::abort();
  }
  return *tensor;
}

TEST_F(RunStream, TensorsComeInTheOrderOfThePassAndBeforeTheReceipt) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), LongPrompt(40)});
  *spec.add_captures() = Capture("blocks.*.hook_out");
  spec.mutable_outputs()->mutable_logits();
  std::vector<std::string> order;
  bool receipt_came = false;
  const auto receipt = client().Run(spec, [&](const Tensor& tensor) {
    EXPECT_FALSE(receipt_came);
    order.push_back(absl::StrCat(std::string(tensor.name()), "/", tensor.sequence()));
    return absl::OkStatus();
  });
  receipt_came = true;
  ASSERT_THAT(StatusOf(receipt), IsOk());
  std::vector<std::string> expected;
  for (int layer = 0; layer < 6; ++layer) {
    for (int sequence : {0, 1}) {
      expected.push_back(absl::StrCat("blocks.", layer, ".hook_out/", sequence));
    }
  }
  expected.insert(expected.end(), {"logits/0", "logits/1"});
  EXPECT_EQ(order, expected);
  EXPECT_EQ(receipt->tensors(), expected.size());
  EXPECT_EQ(receipt->n_layers_run(), 6U);
  EXPECT_EQ(receipt->batch_sequences(), 2U);
  EXPECT_EQ(receipt->batch_tokens(), CleanPrompt().size() + 40);
  EXPECT_FALSE(receipt->run_id().empty());
}

TEST_F(RunStream, GivesTensorsUnderTheNamesThatWereAskedFor) {
  const auto names_of = [&](const std::string& hook) {
    v1::RunSpec spec = SpecOf({CleanPrompt()});
    *spec.add_captures() = Capture(hook);
    const client::RunResult result = MustCollect(client(), spec);
    const auto& names = result.plan.groups(0).names();
    return std::vector<std::string>(names.begin(), names.end());
  };
  EXPECT_THAT(names_of("blocks.1.hook_in"), ElementsAre("blocks.1.hook_in"));
  EXPECT_THAT(names_of("blocks.1.hook_resid_pre"),
              UnorderedElementsAre("blocks.1.hook_in", "blocks.1.hook_resid_pre"));
  EXPECT_THAT(names_of("blocks.*.hook_resid_pre"), ElementsAre("blocks.0.hook_resid_pre"));
}

TEST_F(RunStream, EveryHookPointHasTheShapeAndDtypeThatTheCatalogueSays) {
  const uint64_t length = 7;
  v1::RunSpec spec = SpecOf({LongPrompt(length)});
  *spec.add_captures() = Capture("**");
  const client::RunResult result = MustCollect(client(), spec);
  const auto hooks = client().ListHooks();
  ASSERT_THAT(StatusOf(hooks), IsOk());
  EXPECT_EQ(result.tensors.size(), hooks->size());
  for (const v1::HookPoint& hook : *hooks) {
    const Tensor& tensor = MustFind(result, hook.name());
    std::vector<uint64_t> shape;
    for (const v1::Axis& axis : hook.axes())
      shape.push_back(axis.size() == 0 ? length : axis.size());
    EXPECT_THAT(tensor.shape(), ::testing::ElementsAreArray(shape)) << hook.name();
    EXPECT_EQ(tensor.dtype(), hook.dtype()) << hook.name();
    for (const std::string& alias : hook.aliases()) EXPECT_TRUE(tensor.HasName(alias)) << alias;
  }
  EXPECT_EQ(result.receipt.non_finite_size(), 0);
}

TEST_F(RunStream, TheStreamOfOneLayerEntersTheNext) {
  v1::RunSpec spec = SpecOf({LongPrompt(9)});
  *spec.add_captures() = Capture("**");
  const client::RunResult result = MustCollect(client(), spec);
  for (int layer = 0; layer + 1 < 6; ++layer) {
    EXPECT_EQ(BytesOf(MustFind(result, absl::StrCat("blocks.", layer, ".hook_resid_post"))),
              BytesOf(MustFind(result, absl::StrCat("blocks.", layer + 1, ".hook_resid_pre"))));
  }
  const Tensor& pattern = MustFind(result, "blocks.2.attn.hook_pattern");
  const std::vector<double> values = pattern.ToDoubles();
  for (size_t row = 0; row < values.size() / 9; ++row) {
    double sum = 0;
    for (size_t key = 0; key < 9; ++key) {
      sum += values[row * 9 + key];
      if (key > row % 9) {
        EXPECT_EQ(values[row * 9 + key], 0.0);
      }
    }
    EXPECT_NEAR(sum, 1.0, 1e-5);
  }
}

TEST_F(RunStream, SelectionsGiveThePartsOfTheWhole) {
  v1::RunSpec spec = SpecOf({LongPrompt(20)});
  *spec.add_captures() = Capture("blocks.1.attn.hook_q");
  *spec.add_captures() = Capture("blocks.1.attn.hook_pattern");
  const client::RunResult whole = MustCollect(client(), spec);
  const Tensor& q = MustFind(whole, "blocks.1.attn.hook_q");              // [pos, head, d_head]
  const Tensor& pattern = MustFind(whole, "blocks.1.attn.hook_pattern");  // [head, pos, key_pos]

  const auto part = [&](const std::string& hook, const client::Where& where) {
    v1::RunSpec one = SpecOf({LongPrompt(20)});
    *one.add_captures() = Capture(hook, where);
    return BytesOf(MustCollect(client(), one).tensors.at(0));
  };
  EXPECT_EQ(part("blocks.1.attn.hook_q", {.pos = At(-1)}), PickBytes(q, {{19}}));
  EXPECT_EQ(part("blocks.1.attn.hook_q", {.pos = At({7, 0, -2}), .head = At(3)}),
            PickBytes(q, {{7, 0, 18}, {3}}));
  EXPECT_EQ(part("blocks.1.attn.hook_q",
                 {.pos = Slice(1, -3, 5), .head = At({2, 0}), .feature = Slice(12)}),
            PickBytes(q, {{1, 6, 11, 16}, {2, 0}, {12, 13, 14, 15}}));
  EXPECT_EQ(
      part("blocks.1.attn.hook_pattern", {.pos = At(5), .head = At({3, 1}), .feature = At({5, 2})}),
      PickBytes(pattern, {{3, 1}, {5}, {5, 2}}));
}

TEST_F(RunStream, ConvertsToTheDtypeOfTheWire) {
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  *spec.add_captures() = Capture("blocks.3.hook_out");
  *spec.add_captures() = Capture("blocks.3.hook_out", {}, v1::DTYPE_BFLOAT16);
  *spec.add_captures() = Capture("blocks.3.hook_out", {}, v1::DTYPE_FLOAT16);
  *spec.add_captures() = Capture("blocks.3.hook_out", {}, v1::DTYPE_FLOAT64);
  const client::RunResult result = MustCollect(client(), spec);
  ASSERT_EQ(result.tensors.size(), 4U);
  std::map<v1::Dtype, std::vector<double>> by_dtype;
  for (const Tensor& tensor : result.tensors) by_dtype[tensor.dtype()] = tensor.ToDoubles();
  const auto& whole = by_dtype.at(v1::DTYPE_FLOAT32);
  EXPECT_EQ(by_dtype.at(v1::DTYPE_FLOAT64), whole);
  for (size_t i = 0; i < whole.size(); ++i) {
    // Rounding to nearest is off by at most half a unit in the last of 8 and 11 places.
    EXPECT_NEAR(by_dtype.at(v1::DTYPE_BFLOAT16)[i], whole[i], std::abs(whole[i]) * 0x1p-8);
    EXPECT_NEAR(by_dtype.at(v1::DTYPE_FLOAT16)[i], whole[i],
                std::abs(whole[i]) * 0x1p-11 + 0x1p-25);
  }
}

TEST_F(RunStream, LogProbsAreTheLogSoftmaxOfTheLogits) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), LongPrompt(5)});
  spec.mutable_outputs()->mutable_logits();
  spec.mutable_outputs()->mutable_log_probs();
  const client::RunResult result = MustCollect(client(), spec);
  for (uint32_t s : {0, 1}) {
    const auto& ids = spec.sequences(static_cast<int>(s)).token_ids();
    const std::vector<double> logits = MustFind(result, "logits", s).ToDoubles();
    const std::vector<double> log_probs = MustFind(result, "log_probs", s).ToDoubles();
    const size_t d_vocab = model().d_vocab();
    ASSERT_EQ(log_probs.size(), static_cast<size_t>(ids.size() - 1));
    ASSERT_EQ(logits.size(), static_cast<size_t>(ids.size()) * d_vocab);
    for (size_t pos = 0; pos < log_probs.size(); ++pos) {
      double sum = 0;
      for (size_t i = 0; i < d_vocab; ++i) sum += std::exp(logits[pos * d_vocab + i]);
      const double target = logits[pos * d_vocab + ids[static_cast<int>(pos) + 1]];
      EXPECT_NEAR(log_probs[pos], target - std::log(sum), 2e-5);
    }
  }
}

TEST_F(RunStream, LogProbsOfChosenTargets) {
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  spec.mutable_outputs()->mutable_logits()->mutable_positions()->mutable_indices()->add_values(-1);
  v1::Targets& targets = *spec.mutable_outputs()->mutable_log_probs()->add_targets();
  for (const char* name : {"Mary", "John"}) {
    targets.add_positions(-1);
    targets.add_token_ids(TokenId(name));
  }
  const client::RunResult result = MustCollect(client(), spec);
  const std::vector<double> log_probs = MustFind(result, "log_probs").ToDoubles();
  const std::vector<double> logits = MustFind(result, "logits").ToDoubles();
  ASSERT_EQ(log_probs.size(), 2U);
  EXPECT_NEAR(log_probs[0] - log_probs[1], logits[TokenId("Mary")] - logits[TokenId("John")], 2e-5);
  EXPECT_GT(log_probs[0], std::log(0.5));  // the toy knows the answer
}

TEST_F(RunStream, StopsAtALayer) {
  v1::RunSpec whole = SpecOf({CleanPrompt()});
  *whole.add_captures() = Capture("blocks.3.hook_resid_pre");
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  spec.set_stop_at_layer(3);
  spec.mutable_outputs()->set_residual(true);
  const client::RunResult result = MustCollect(client(), spec);
  EXPECT_EQ(BytesOf(MustFind(result, "residual")),
            BytesOf(MustFind(MustCollect(client(), whole), "blocks.3.hook_in")));
  EXPECT_EQ(result.receipt.n_layers_run(), 3U);
}

TEST_F(RunStream, RunsNoLayerThatNobodyNeeds) {
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  *spec.add_captures() = Capture("blocks.1.hook_resid_mid");
  EXPECT_EQ(MustCollect(client(), spec).receipt.n_layers_run(), 2U);
}

TEST_F(RunStream, ThePlanIsWhatTheRunAccepts) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), LongPrompt(30)});
  *spec.add_captures() = Capture("blocks.*.attn.hook_k", {.pos = At(-1)});
  *spec.add_captures() = Capture("blocks.5.attn.hook_k");
  spec.mutable_captures(1)->set_missing(v1::MISSING_SKIP);
  *spec.add_interventions() = client::Zero("blocks.2.hook_mlp_out");
  spec.mutable_outputs()->mutable_log_probs();
  const auto plan = client().Plan(spec);
  ASSERT_THAT(StatusOf(plan), IsOk());
  const client::RunResult result = MustCollect(client(), spec);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*plan, result.plan))
      << plan->DebugString() << result.plan.DebugString();
  uint64_t bytes = 0;
  for (const Tensor& tensor : result.tensors) bytes += tensor.bytes().size();
  EXPECT_EQ(plan->total_bytes(), bytes);
  EXPECT_EQ(plan->total_tokens(), CleanPrompt().size() + 30);
  EXPECT_THAT(plan->skipped(), ElementsAre("blocks.5.attn.hook_k"));
  EXPECT_THAT(plan->intervened_hooks(), ElementsAre("blocks.2.ln2_post.hook_out"));
}

TEST_F(RunStream, ATensorOfNoElementsComesToo) {
  v1::RunSpec spec = SpecOf({{2}, {2, 5}});
  spec.mutable_outputs()->mutable_log_probs();  // [pos - 1]
  const client::RunResult result = MustCollect(client(), spec);
  EXPECT_THAT(MustFind(result, "log_probs", 0).shape(), ElementsAre(0));
  EXPECT_THAT(MustFind(result, "log_probs", 1).shape(), ElementsAre(1));
}

TEST_F(RunStream, BitsDoNotDependOnTheSizeOfMessages) {
  v1::RunSpec spec = SpecOf({LongPrompt(128)});
  *spec.add_captures() = Capture("blocks.*.attn.hook_attn_scores");  // 256 KiB each
  *spec.add_captures() = Capture("blocks.*.hook_resid_post");
  const client::RunResult whole = MustCollect(client(), spec);
  for (const uint32_t limit : {64U << 10U, 100'001U, 16U << 20U}) {
    spec.set_max_message_bytes(limit);
    v1::RunRequest request;
    *request.mutable_spec() = spec;
    const RawAnswer raw =
        CallRaw(OpenChannel(daemon().address()), "/hookwire.v1.ActivationService/Run",
                request.SerializeAsString());
    ASSERT_THAT(raw.status, IsOk());
    for (const std::string& message : raw.messages) EXPECT_LE(message.size(), limit);
    const client::RunResult same = MustCollect(client(), spec);
    ASSERT_EQ(same.tensors.size(), whole.tensors.size());
    EXPECT_EQ(BytesOf(same), BytesOf(whole));
  }
}

using RunStreamInReference = DaemonTest<Reference>;

TEST_F(RunStreamInReference, ClientsAtTheSameTimeGetTheBitsThatEachGetsAlone) {
  const auto spec_of = [](uint32_t seed) {
    v1::RunSpec spec = SpecOf({LongPrompt(10 + seed * 7, seed)});
    *spec.add_captures() = Capture("blocks.*.hook_out");
    spec.mutable_outputs()->mutable_logits();
    return spec;
  };
  constexpr uint32_t kClients = 6;
  std::vector<Bits> alone(kClients);
  std::vector<Bits> together(kClients);
  for (uint32_t i = 0; i < kClients; ++i) alone[i] = BytesOf(MustCollect(client(), spec_of(i)));
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      const auto own = daemon().Connect();
      for (int repeat = 0; repeat < 5; ++repeat) {
        together[i] = BytesOf(MustCollect(*own, spec_of(i)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

// "sha256:" and what sha256sum says of the toy's only weight file.
std::string ToyDigest() {
  const std::string command = "sha256sum " + ToyCheckpoint() + "/model.safetensors";
  FILE* pipe = popen(command.c_str(), "r");  // NOLINT(bugprone-command-processor)
  char digest[65] = {};
  EXPECT_EQ(fread(digest, 1, 64, pipe), 64U);
  pclose(pipe);
  return absl::StrCat("sha256:", digest);
}

TEST_F(RunStream, TheReceiptSaysWhatRan) {
  v1::Receipt receipt = MustCollect(client(), GoodSpec()).receipt;
  const auto server = client().GetModel()->server();
  EXPECT_EQ(receipt.build(), server.build());
  EXPECT_EQ(receipt.device(), "cpu");
  EXPECT_EQ(receipt.dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(receipt.numerics(), v1::NUMERICS_FAST);
  EXPECT_EQ(receipt.threads(), 1U);
  // 1.6 MB are hashed soon; a server that never gets there runs into the test's time limit.
  while (receipt.weights_digest() == "pending") receipt = MustCollect(client(), GoodSpec()).receipt;
  EXPECT_EQ(receipt.weights_digest(), ToyDigest());
  EXPECT_EQ(client().GetModel()->model().weights_digest(), ToyDigest());
}

}  // namespace
}  // namespace hookwire::e2e
