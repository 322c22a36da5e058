// Reads, writes of the same value, other sequences, stops and selections of rows change no bits.
#include <algorithm>
#include <string>
#include <thread>
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
using ::hookwire::testing::AllRows;
using ::hookwire::testing::EveryModel;
using ::hookwire::testing::FinishAll;
using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::ModelName;
using ::hookwire::testing::Pass;
using ::hookwire::testing::RandomTensor;
using ::hookwire::testing::RecordingTap;
using ::hookwire::testing::SameBits;
using ::hookwire::testing::Sequences;
using ::hookwire::testing::ThreeSequences;
using ::hookwire::testing::TinyVariant;

at::Tensor Clone(const at::Tensor& value) { return value.clone(); }

// Adds noise; masked attention scores stay −inf.
at::Tensor Disturb(const at::Tensor& value) {
  return value + (RandomTensor(value.sizes(), 99) * 0.5).to(value.scalar_type());
}

void ExpectSameBits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                    const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(SameBits(a[i], b[i])) << what << " " << i;
}

void ExpectSameSights(const RecordingTap& a, const RecordingTap& b, const Catalogue& catalogue) {
  ASSERT_EQ(a.seen().size(), b.seen().size());
  for (const auto& [id, values] : a.seen()) {
    ExpectSameBits(values, b.seen().at(id), catalogue.point(id).name);
  }
}

// Hook points of one layer of each kind, and those outside the layers; each is read alone.
std::vector<const HookPoint*> PointsToTry(const TextModel& model) {
  const int n_layers = model.config().n_layers();
  std::vector<const HookPoint*> points;
  for (const HookPoint& point : model.catalogue().points()) {
    if (point.layer < 2 || point.layer >= n_layers - 2) points.push_back(&point);
  }
  return points;
}

using Bits = EveryModel;

TEST_P(Bits, APassRepeatsItself) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    ExpectSameBits(Pass(Model(dtype), ThreeSequences(), numerics()),
                   Pass(Model(dtype), ThreeSequences(), numerics()), dtype);
  }
}

TEST_P(Bits, IdentityWritesEverywhereChangeNothing) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    const TextModel& model = Model(dtype);
    RecordingTap reads(model.catalogue());
    RecordingTap writes(model.catalogue());
    reads.ReadEverything();
    writes.ReadEverything();
    for (const HookPoint& point : model.catalogue().points()) {
      if (point.writable) writes.WriteAt(point.name, Clone);
    }
    ExpectSameBits(Pass(model, ThreeSequences(), numerics(), reads),
                   Pass(model, ThreeSequences(), numerics(), writes), dtype);
    ExpectSameSights(reads, writes, model.catalogue());
  }
}

TEST_P(Bits, AnIdentityWriteChangesNothing) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    const TextModel& model = Model(dtype);
    const auto untouched = Pass(model, ThreeSequences(), numerics());
    for (const HookPoint* point : PointsToTry(model)) {
      RecordingTap read(model.catalogue());
      const auto by_read = Pass(model, ThreeSequences(), numerics(), read.Read(point->name));
      // In fast numerics, a read inside attention or a norm makes the pass compute it in steps.
      if (reference()) ExpectSameBits(by_read, untouched, point->name + " read");
      if (!point->writable) continue;
      RecordingTap write(model.catalogue());
      ExpectSameBits(
          Pass(model, ThreeSequences(), numerics(), write.WriteAt(point->name, Clone, {1})),
          [&] {
            RecordingTap same(model.catalogue());
            return Pass(model, ThreeSequences(), numerics(), same.Read(point->name, {1}));
          }(),
          point->name + " written");
    }
  }
}

TEST_P(Bits, AWriteInOneSequenceChangesItAlone) {
  for (const HookPoint* point : PointsToTry(Model())) {
    if (!point->writable) continue;
    RecordingTap read(catalogue());
    RecordingTap write(catalogue());
    read.Read(point->name, {1});
    write.WriteAt(point->name, Disturb, {1});
    const auto before = Pass(Model(), ThreeSequences(), numerics(), read);
    const auto after = Pass(Model(), ThreeSequences(), numerics(), write);
    EXPECT_FALSE(SameBits(after[1], before[1])) << point->name << " has no effect";
    for (const size_t other : {0, 2}) {
      // In a batch an expert computes the rows of all sequences together, and its bits depend on
      // the number of rows.
      if (reference() || !Model().config().has_experts()) {
        EXPECT_TRUE(SameBits(after[other], before[other])) << point->name;
      }
      EXPECT_LT(MaxDifference(after[other], before[other]), 1e-4) << point->name;
    }
  }
}

TEST_P(Bits, ReferenceIsTheSameAloneAndInABatch) {
  if (!reference()) return;
  for (const char* dtype : {"float32", "bfloat16"}) {
    const TextModel& model = Model(dtype);
    RecordingTap batch(model.catalogue());
    const auto together = Pass(model, ThreeSequences(), numerics(), batch.ReadEverything());
    for (size_t s = 0; s < ThreeSequences().size(); ++s) {
      RecordingTap alone(model.catalogue());
      const auto logits = Pass(model, {ThreeSequences()[s]}, numerics(), alone.ReadEverything());
      EXPECT_TRUE(SameBits(logits[0], together[s])) << dtype << " " << s;
      for (const HookPoint& point : model.catalogue().points()) {
        EXPECT_TRUE(SameBits(alone.Seen(point.name), batch.Seen(point.name, static_cast<int>(s))))
            << dtype << " " << point.name << " " << s;
      }
    }
  }
}

TEST_P(Bits, FastIsCloseToReference) {
  const Sequences equal_lengths = {{4, 9, 16, 25, 36, 1}, {2, 3, 5, 7, 11, 13}};
  for (const Sequences& sequences : {ThreeSequences(), equal_lengths}) {
    const auto expected = Pass(Model(), sequences, Numerics::kReference);
    const auto got = Pass(Model(), sequences, numerics());
    for (size_t s = 0; s < sequences.size(); ++s) {
      EXPECT_LT(MaxDifference(got[s], expected[s]), 5e-4);
    }
    // A read of the scores makes the pass compute attention in steps.
    RecordingTap tap(catalogue());
    const auto in_steps = Pass(Model(), sequences, numerics(), tap.ReadEverything());
    for (size_t s = 0; s < sequences.size(); ++s) {
      EXPECT_LT(MaxDifference(in_steps[s], expected[s]), 5e-4);
    }
  }
}

TEST_P(Bits, APassMayStopAtAnyLayerAndGoOn) {
  RecordingTap whole(catalogue());
  const auto expected = Pass(Model(), ThreeSequences(), numerics(), whole.ReadEverything());
  const int n_layers = Model().config().n_layers();
  for (int stop = 0; stop <= n_layers; ++stop) {
    RecordingTap tap(catalogue());
    tap.ReadEverything();
    auto state = Model().Begin(ThreeSequences(), numerics(), tap);
    ASSERT_TRUE(state.ok()) << state.status();
    ASSERT_TRUE(Model().RunLayers(*state, stop, tap).ok());
    EXPECT_EQ(state->next_layer, stop);
    const std::vector<at::Tensor> residual = TextModel::Residual(*state);
    for (int s = 0; s < 3; ++s) {
      const std::string name =
          stop == n_layers ? "ln_final.hook_in" : absl::StrCat("blocks.", stop, ".hook_resid_pre");
      EXPECT_TRUE(SameBits(residual[static_cast<size_t>(s)], whole.Seen(name, s))) << stop;
    }
    ASSERT_TRUE(Model().RunLayers(*state, n_layers, tap).ok());
    // Nothing is left to run.
    ASSERT_TRUE(Model().RunLayers(*state, n_layers, tap).ok());
    const auto logits = FinishAll(Model(), *state, AllRows(ThreeSequences()), tap);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ExpectSameBits(*logits, expected, absl::StrCat("stop at ", stop));
    ExpectSameSights(tap, whole, catalogue());
  }
}

TEST_P(Bits, ACopyOfTheStateGoesOnByItself) {
  const auto expected = Pass(Model(), ThreeSequences(), numerics());
  const int n_layers = Model().config().n_layers();
  RecordingTap nobody(catalogue());
  auto state = Model().Begin(ThreeSequences(), numerics(), nobody);
  ASSERT_TRUE(state.ok());
  ASSERT_TRUE(Model().RunLayers(*state, n_layers / 2, nobody).ok());
  PassState copy = *state;
  // The first state runs to the end, with a write, before its copy does.
  RecordingTap writer(catalogue());
  writer.WriteAt(absl::StrCat("blocks.", n_layers / 2, ".hook_in"), Disturb);
  ASSERT_TRUE(Model().RunLayers(*state, n_layers, writer).ok());
  const auto changed = FinishAll(Model(), *state, AllRows(ThreeSequences()), writer);
  ASSERT_TRUE(changed.ok());
  EXPECT_FALSE(SameBits((*changed)[0], expected[0]));

  ASSERT_TRUE(Model().RunLayers(copy, n_layers, nobody).ok());
  const auto logits = FinishAll(Model(), copy, AllRows(ThreeSequences()), nobody);
  ASSERT_TRUE(logits.ok());
  ExpectSameBits(*logits, expected, "copy");
}

class Rows : public EveryModel {
 protected:
  std::vector<at::Tensor> Finish(const std::vector<std::vector<int64_t>>& rows, Tap& tap) const {
    auto state = Model().Begin(ThreeSequences(), numerics(), tap);
    EXPECT_TRUE(state.ok());
    EXPECT_TRUE(Model().RunLayers(*state, Model().config().n_layers(), tap).ok());
    auto logits = FinishAll(Model(), *state, rows, tap);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return *logits;
  }
  // Chosen rows of all logits.
  void ExpectRows(const std::vector<at::Tensor>& got, const std::vector<std::vector<int64_t>>& rows,
                  bool same_bits) const {
    const auto all = Pass(Model(), ThreeSequences(), numerics());
    ASSERT_EQ(got.size(), rows.size());
    for (size_t s = 0; s < rows.size(); ++s) {
      if (rows[s].empty()) {
        EXPECT_FALSE(got[s].defined());
        continue;
      }
      ASSERT_EQ(got[s].size(0), static_cast<int64_t>(rows[s].size()));
      for (size_t i = 0; i < rows[s].size(); ++i) {
        const at::Tensor row = got[s][static_cast<int64_t>(i)];
        const at::Tensor expected = all[s][rows[s][i]];
        if (same_bits) {
          EXPECT_TRUE(SameBits(row, expected)) << s << " " << i;
        }
        EXPECT_LT(MaxDifference(row, expected), 1e-4) << s << " " << i;
      }
    }
  }
};

TEST_P(Rows, AreThoseOfAllLogits) {
  const std::vector<std::vector<std::vector<int64_t>>> choices = {
      {{4}, {6}, {0}}, {{}, {3, 0, 3}, {}}, {{0, 1, 2, 3, 4}, {}, {0}}, {{}, {}, {}}};
  for (const auto& rows : choices) {
    RecordingTap nobody(catalogue());
    ExpectRows(Finish(rows, nobody), rows, reference());
  }
}

TEST_P(Rows, AreTakenFromWhatATapWrote) {
  RecordingTap tap(catalogue());
  tap.WriteAt("hook_logits", [](const at::Tensor& x) { return x * 0 + 7; }, {1});
  const std::vector<std::vector<int64_t>> rows = {{4}, {6, 2}, {}};
  const auto logits = Finish(rows, tap);
  EXPECT_EQ(logits[1].sizes(), at::IntArrayRef({2, 48}));
  EXPECT_TRUE((logits[1] == 7).all().item<bool>());
  EXPECT_FALSE((logits[0] == 7).any().item<bool>());
  EXPECT_FALSE(logits[2].defined());
}

TEST_P(Rows, WhoLooksAtWhatFollowsTheBlocksSeesAllRows) {
  for (const char* name : {"ln_final.hook_in", "ln_final.hook_scale", "ln_final.hook_normalized",
                           "ln_final.hook_out", "unembed.hook_in", "hook_unembed", "hook_logits"}) {
    RecordingTap tap(catalogue());
    tap.Read(name, {1});
    const std::vector<std::vector<int64_t>> rows = {{4}, {}, {0}};
    ExpectRows(Finish(rows, tap), rows, reference());
    EXPECT_EQ(tap.Seen(name, 1).size(0), 7) << name;
    EXPECT_FALSE(tap.Seen(name, 0).defined());
  }
}

// Three rows of 48 float32 words at a time: sequences of 5, 7 and 1 rows share blocks, or are cut.
TEST(Logits, AreMadeInBlocksOfABoundedSize) {
  constexpr int64_t kMaxBytes = int64_t{3} * 48 * 4;
  TextModel::Options options;
  options.max_logits_bytes = kMaxBytes;
  const auto model = testing::MakeTinyModel({}, options);
  const std::vector<std::vector<std::vector<int64_t>>> choices = {
      AllRows(ThreeSequences()), {{4}, {6}, {0}}, {{2, 0}, {}, {0}}, {{0, 1, 2}, {5, 3, 1, 0}, {}}};
  for (const auto& rows : choices) {
    RecordingTap nobody(model->catalogue());
    auto state = model->Begin(ThreeSequences(), Numerics::kFast, nobody);
    ASSERT_TRUE(state.ok());
    ASSERT_TRUE(model->RunLayers(*state, model->config().n_layers(), nobody).ok());
    int64_t largest = 0;
    const auto measure = [&](int, int64_t, const at::Tensor& logits) {
      largest = std::max(largest, static_cast<int64_t>(logits.storage().nbytes()));
      return absl::OkStatus();
    };
    ASSERT_TRUE(model->Finish(*state, rows, nobody, measure).ok());
    EXPECT_LE(largest, kMaxBytes);
    const auto logits = FinishAll(*model, *state, rows, nobody);
    ASSERT_TRUE(logits.ok()) << logits.status();
    const auto all = Pass(*model, ThreeSequences(), Numerics::kReference);
    for (size_t s = 0; s < rows.size(); ++s) {
      for (size_t i = 0; i < rows[s].size(); ++i) {
        EXPECT_LT(MaxDifference((*logits)[s][static_cast<int64_t>(i)], all[s][rows[s][i]]), 1e-4);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Bits, AllModels(), ModelName);
INSTANTIATE_TEST_SUITE_P(Of, Rows, AllModels(), ModelName);

TEST(Pass, SeveralThreadsRunPassesAtOnce) {
  const TextModel& model = testing::TinyModel();
  const auto expected = Pass(model, ThreeSequences(), Numerics::kReference);
  std::vector<std::vector<at::Tensor>> results(4);
  std::vector<std::thread> threads;
  for (std::vector<at::Tensor>& result : results) {
    threads.emplace_back([&model, &result] {
      for (int i = 0; i < 5; ++i) {
        RecordingTap tap(model.catalogue());
        result = Pass(model, ThreeSequences(), Numerics::kReference, tap.ReadEverything());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) {
    for (size_t s = 0; s < expected.size(); ++s) {
      EXPECT_LT(MaxDifference(result[s], expected[s]), 1e-4);
    }
  }
}

}  // namespace
}  // namespace hookwire::model
