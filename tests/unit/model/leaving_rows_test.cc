// Rows that nothing reads any more leave the pass; what is read is what it would be among all rows.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "model/text/text_model.h"
#include "tests/unit/model/recording_tap.h"
#include "tests/unit/model/variant_names.h"
#include "tests/unit/support/tiny_checkpoint.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::model {
namespace {

using hookwire::testing::AllVariants;
using hookwire::testing::FinishAll;
using hookwire::testing::MakeTinyModel;
using hookwire::testing::RecordingTap;
using hookwire::testing::SameBits;
using hookwire::testing::Sequences;
using hookwire::testing::TestName;
using hookwire::testing::ThreeSequences;
using hookwire::testing::TinyOptions;
using hookwire::testing::TinyVariant;

// The last layer that makes keys and values, in all these models.
constexpr int kLastKeys = 3;

// E-type models have six layers, of which the last two use the keys and values of layers 2 and 3;
// all others have four, each with its own.
const TextModel& ModelOf(TinyVariant variant, bool invariant,
                         const std::string& dtype = "float32") {
  static auto* models =
      new std::map<std::tuple<TinyVariant, bool, std::string>, std::unique_ptr<const TextModel>>();
  auto& model = (*models)[{variant, invariant, dtype}];
  if (model == nullptr) {
    TinyOptions options;
    options.variant = variant;
    options.dtype = dtype;
    if (variant != TinyVariant::kEType) options.layers = "sfsf";
    TextModel::Options load;
    load.invariant = invariant;
    model = MakeTinyModel(options, load);
  }
  return *model;
}

// A whole pass; the logits of these positions.
std::vector<at::Tensor> LogitsOf(const TextModel& model, const Sequences& sequences,
                                 const Sequences& rows, Numerics numerics, Tap& tap) {
  PassState state = model.Begin(sequences, numerics, tap).value();
  EXPECT_TRUE(model.RunLayers(state, model.config().n_layers(), tap).ok());
  return FinishAll(model, state, rows, tap).value();
}

Sequences LastRows(const Sequences& sequences) {
  Sequences rows;
  for (const auto& sequence : sequences) {
    rows.push_back({static_cast<int64_t>(sequence.size()) - 1});
  }
  return rows;
}

// Says that the logits of these positions are needed.
void NeedLogits(RecordingTap& tap, const Sequences& rows) {
  for (size_t s = 0; s < rows.size(); ++s) {
    for (const int64_t row : rows[s])
      tap.Need("ln_final.hook_in", static_cast<int>(s), {row, row + 1});
  }
}

// Of each sequence of ThreeSequences, the rows that the tests read at a hook point.
constexpr RowRange kRead[] = {{1, 3}, {6, 7}, {0, 1}};

// The axis of positions.
int64_t PositionAxis(const HookPoint& point) {
  return point.axes.front().kind == AxisKind::kPosition ? 0 : 1;
}

class LeavingRows : public ::testing::TestWithParam<std::tuple<TinyVariant, Numerics>> {
 protected:
  Numerics numerics() const { return std::get<1>(GetParam()); }
  bool invariant() const { return numerics() == Numerics::kInvariant; }
  const TextModel& Model(const std::string& dtype = "float32") const {
    return ModelOf(std::get<0>(GetParam()), invariant(), dtype);
  }
  int n_layers() const { return Model().config().n_layers(); }

  void ExpectSame(const at::Tensor& a, const at::Tensor& b, const std::string& what) const {
    if (invariant()) {
      EXPECT_TRUE(SameBits(a, b)) << what;
    } else {
      EXPECT_TRUE(a.sizes() == b.sizes() && at::allclose(a, b, 1e-4, 1e-5)) << what;
    }
  }

 private:
  const at::NoGradGuard no_gradients_;
};

INSTANTIATE_TEST_SUITE_P(Models, LeavingRows,
                         ::testing::Combine(AllVariants(), ::testing::Values(Numerics::kFast,
                                                                             Numerics::kInvariant)),
                         [](const auto& info) {
                           return TestName(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == Numerics::kFast ? "Fast"
                                                                              : "Invariant");
                         });

TEST_P(LeavingRows, OnlyTheLastRowGoesOnBehindTheLastKeys) {
  const Sequences rows = LastRows(ThreeSequences());
  RecordingTap tap(Model().catalogue());
  NeedLogits(tap, rows);
  for (int layer = 0; layer < n_layers(); ++layer) {
    for (const char* const name : {".attn.q.hook_in", ".attn.o.hook_in", ".mlp.hook_in"}) {
      tap.Read(absl::StrCat("blocks.", layer, name));
    }
    tap.Read(absl::StrCat("blocks.", layer, ".attn.hook_rot_k"));
  }
  LogitsOf(Model(), ThreeSequences(), rows, numerics(), tap);
  for (int layer = 0; layer < n_layers(); ++layer) {
    for (int s = 0; s < 3; ++s) {
      const auto length = static_cast<int64_t>(ThreeSequences()[static_cast<size_t>(s)].size());
      const RowRange all = {0, length};
      const RowRange left = layer < kLastKeys ? all : RowRange{length - 1, length};
      for (const char* const name : {".attn.q.hook_in", ".attn.o.hook_in", ".mlp.hook_in"}) {
        const std::string hook = absl::StrCat("blocks.", layer, name);
        EXPECT_EQ(tap.RowsOf(hook, s), left) << hook << " of sequence " << s;
        EXPECT_EQ(tap.Seen(hook, s).size(0), left.end - left.begin);
      }
      const std::string keys = absl::StrCat("blocks.", layer, ".attn.hook_rot_k");
      EXPECT_EQ(tap.RowsOf(keys, s), all) << keys;
      EXPECT_EQ(tap.Seen(keys, s).size(0), length);
    }
  }
}

TEST_P(LeavingRows, ThoseBehindTheLastOneThatIsReadLeaveAtOnce) {
  RecordingTap tap(Model().catalogue());
  tap.Need("blocks.2.hook_out", 0, {2, 3}).Need("blocks.1.mlp.hook_out", 1, {4, 5});
  tap.Read("blocks.0.attn.k.hook_in").Read("blocks.1.mlp.hook_in").Read("blocks.2.mlp.hook_in");
  PassState state = Model().Begin(ThreeSequences(), numerics(), tap).value();
  ASSERT_TRUE(Model().RunLayers(state, 3, tap).ok());
  const bool bits = invariant();
  EXPECT_EQ(tap.RowsOf("blocks.0.attn.k.hook_in", 0), (RowRange{0, bits ? 5 : 3}));
  EXPECT_EQ(tap.RowsOf("blocks.0.attn.k.hook_in", 1), (RowRange{0, bits ? 7 : 5}));
  EXPECT_EQ(tap.RowsOf("blocks.1.mlp.hook_in", 0), (RowRange{0, bits ? 5 : 3}));
  EXPECT_EQ(tap.RowsOf("blocks.1.mlp.hook_in", 1), (RowRange{4, 5}));
  EXPECT_EQ(tap.RowsOf("blocks.2.mlp.hook_in", 0), (RowRange{2, 3}));
  // Of a sequence that nothing reads any more one row is left.
  EXPECT_EQ(tap.Seen("blocks.2.mlp.hook_in", 1).size(0), 1);
  EXPECT_EQ(tap.Seen("blocks.0.attn.k.hook_in", 2).size(0), 1);
}

TEST_P(LeavingRows, StayUntilTheHookPointThatReadsThem) {
  const int last = n_layers() - 1;
  const std::string in = absl::StrCat("blocks.", last);
  const Sequences rows = LastRows(ThreeSequences());
  const auto rows_at_mlp = [&](const std::string& hook) {
    RecordingTap tap(Model().catalogue());
    NeedLogits(tap, rows);
    tap.Need(hook, 1, {2, 7}).Read(in + ".mlp.hook_in");
    LogitsOf(Model(), ThreeSequences(), rows, numerics(), tap);
    return tap.RowsOf(in + ".mlp.hook_in", 1);
  };
  EXPECT_EQ(rows_at_mlp(in + ".hook_in"), (RowRange{6, 7}));
  EXPECT_EQ(rows_at_mlp(in + ".attn.hook_rot_k"), (RowRange{6, 7}));
  EXPECT_EQ(rows_at_mlp(in + ".attn.hook_out"), (RowRange{6, 7}));
  EXPECT_EQ(rows_at_mlp(in + ".hook_resid_mid"), (RowRange{2, 7}));
  EXPECT_EQ(rows_at_mlp("ln_final.hook_out"), (RowRange{2, 7}));
}

// At every hook point of the layers in which rows leave, with what is read behind it and without.
TEST_P(LeavingRows, ChangeNothingThatIsRead) {
  const Sequences rows = LastRows(ThreeSequences());
  for (const HookPoint& point : Model().catalogue().points()) {
    if (point.layer >= 0 && point.layer < 2) continue;
    RecordingTap whole(Model().catalogue());
    whole.Read(point.name);
    const std::vector<at::Tensor> expected =
        LogitsOf(Model(), ThreeSequences(), rows, numerics(), whole);
    for (const bool with_logits : {false, true}) {
      RecordingTap few(Model().catalogue());
      few.Read(point.name);
      for (int s = 0; s < 3; ++s) few.Need(point.name, s, kRead[s]);
      if (with_logits) NeedLogits(few, rows);
      const std::vector<at::Tensor> logits =
          LogitsOf(Model(), ThreeSequences(), with_logits ? rows : Sequences(3), numerics(), few);
      for (int s = 0; s < 3; ++s) {
        const RowRange left = few.RowsOf(point.name, s);
        const RowRange read = kRead[s];
        ASSERT_TRUE(left.begin <= read.begin && read.end <= left.end) << point.name;
        const int64_t count = read.end - read.begin;
        const int64_t axis = PositionAxis(point);
        ExpectSame(few.Seen(point.name, s).narrow(axis, read.begin - left.begin, count),
                   whole.Seen(point.name, s).narrow(axis, read.begin, count), point.name);
        const auto i = static_cast<size_t>(s);
        if (with_logits) ExpectSame(logits[i], expected[i], point.name);
      }
    }
  }
}

TEST_P(LeavingRows, ChangesAtSomeRowsAreSeenByThoseThatAreLeft) {
  const Sequences rows = LastRows(ThreeSequences());
  const auto write = [](const RowRange& left) {
    return [left](const at::Tensor& value) {
      at::Tensor written = value.clone();
      written.narrow(0, 6 - left.begin, 1).mul_(0.5);
      return written;
    };
  };
  for (const HookPoint& point : Model().catalogue().points()) {
    if (!point.writable || point.layer < 2 || PositionAxis(point) != 0) continue;
    RecordingTap probe(Model().catalogue());
    probe.Read(point.name).Need(point.name, 1, {6, 7});
    NeedLogits(probe, rows);
    LogitsOf(Model(), ThreeSequences(), rows, numerics(), probe);
    RecordingTap few(Model().catalogue());
    few.WriteAt(point.name, write(probe.RowsOf(point.name, 1)), {1}).Need(point.name, 1, {6, 7});
    NeedLogits(few, rows);
    RecordingTap whole(Model().catalogue());
    whole.WriteAt(point.name, write({0, 7}), {1});
    const auto logits = LogitsOf(Model(), ThreeSequences(), rows, numerics(), few);
    const auto expected = LogitsOf(Model(), ThreeSequences(), rows, numerics(), whole);
    for (size_t s = 0; s < 3; ++s) ExpectSame(logits[s], expected[s], point.name);
  }
}

// Longer than the blocks of windowed attention, and in both dtypes.
TEST_P(LeavingRows, OfLongSequences) {
  Sequences sequences;
  for (const int64_t length : {300, 97, 300, 33, 300}) {
    sequences.emplace_back();
    for (int64_t i = 0; i < length; ++i)
      sequences.back().push_back(
          (i * i * 7 + 3 * i + length + static_cast<int64_t>(sequences.size())) % 48);
  }
  const Sequences rows = {{299}, {96, 40}, {299}, {}, {150}};
  for (const char* const dtype : {"float32", "bfloat16"}) {
    RecordingTap nobody(Model(dtype).catalogue());
    RecordingTap few(Model(dtype).catalogue());
    NeedLogits(few, rows);
    const auto expected = LogitsOf(Model(dtype), sequences, rows, numerics(), nobody);
    const auto logits = LogitsOf(Model(dtype), sequences, rows, numerics(), few);
    for (size_t s = 0; s < rows.size(); ++s) {
      if (rows[s].empty()) continue;
      if (invariant() || std::string(dtype) == "float32") {
        ExpectSame(logits[s], expected[s], absl::StrCat(dtype, ", sequence ", s));
      } else {
        EXPECT_TRUE(at::allclose(logits[s], expected[s], 0.05, 0.05)) << s;
      }
    }
  }
}

TEST_P(LeavingRows, SequencesMayLeaveAfterwards) {
  const Sequences rows = LastRows(ThreeSequences());
  RecordingTap tap(Model().catalogue());
  NeedLogits(tap, rows);
  PassState state = Model().Begin(ThreeSequences(), numerics(), tap).value();
  ASSERT_TRUE(Model().RunLayers(state, n_layers() - 1, tap).ok());
  ASSERT_TRUE(TextModel::Keep(state, {1, 2}).ok());
  ASSERT_TRUE(Model().RunLayers(state, n_layers(), tap).ok());
  const auto logits = FinishAll(Model(), state, {rows[1], rows[2]}, tap).value();
  RecordingTap nobody(Model().catalogue());
  const auto expected = LogitsOf(Model(), ThreeSequences(), rows, numerics(), nobody);
  ExpectSame(logits[0], expected[1], "sequence 1");
  ExpectSame(logits[1], expected[2], "sequence 2");
}

TEST(RowsOfAPass, DoNotLeaveInReference) {
  const TextModel& model = ModelOf(TinyVariant::kEType, false);
  const Sequences rows = LastRows(ThreeSequences());
  RecordingTap tap(model.catalogue());
  NeedLogits(tap, rows);
  tap.Read("blocks.5.mlp.hook_in");
  LogitsOf(model, ThreeSequences(), rows, Numerics::kReference, tap);
  for (int s = 0; s < 3; ++s) {
    const auto length = static_cast<int64_t>(ThreeSequences()[static_cast<size_t>(s)].size());
    EXPECT_EQ(tap.RowsOf("blocks.5.mlp.hook_in", s), (RowRange{0, length}));
  }
}

TEST(RowsOfAPass, DoNotLeaveWhereTheTapDoesNotSayWhatItReads) {
  const TextModel& model = ModelOf(TinyVariant::kEType, false);
  RecordingTap tap(model.catalogue());
  tap.Read("blocks.5.mlp.hook_in");
  LogitsOf(model, ThreeSequences(), LastRows(ThreeSequences()), Numerics::kFast, tap);
  EXPECT_EQ(tap.RowsOf("blocks.5.mlp.hook_in", 1), (RowRange{0, 7}));
}

}  // namespace
}  // namespace hookwire::model
