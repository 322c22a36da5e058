// Which hook points a pass visits, in which order, and with what.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/text/text_model.h"
#include "tests/unit/model/every_model.h"
#include "tests/unit/model/recording_tap.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::AllModels;
using ::hookwire::testing::EveryModel;
using ::hookwire::testing::MakeTinyModel;
using ::hookwire::testing::ModelName;
using ::hookwire::testing::Pass;
using ::hookwire::testing::RecordingTap;
using ::hookwire::testing::SameBits;
using ::hookwire::testing::Sequences;
using ::hookwire::testing::ThreeSequences;
using ::hookwire::testing::TinyModel;
using ::hookwire::testing::TinyOptions;
using ::hookwire::testing::TinyVariant;
using ::hookwire::testing::TryPass;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Visits = EveryModel;

TEST_P(Visits, EveryHookPointFiresOnceInTheOrderOfIds) {
  RecordingTap tap(catalogue());
  Pass(Model(), ThreeSequences(), numerics(), tap.ReadEverything());
  std::vector<HookId> all(static_cast<size_t>(catalogue().size()));
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(tap.visited(), all);
  std::vector<int> layers(static_cast<size_t>(Model().config().n_layers()));
  std::iota(layers.begin(), layers.end(), 0);
  EXPECT_EQ(tap.layers_done(), layers);
}

TEST_P(Visits, ShowTheShapeAndDtypeOfTheCatalogue) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    const TextModel& model = Model(dtype);
    RecordingTap tap(model.catalogue());
    Pass(model, ThreeSequences(), numerics(), tap.ReadEverything());
    for (const HookPoint& point : model.catalogue().points()) {
      // Norms compute their steps in float32.
      const bool step = absl::EndsWith(point.name, ".hook_scale") ||
                        absl::EndsWith(point.name, ".hook_normalized");
      const at::ScalarType expected_dtype = point.dtype == HookDtype::kInt64 ? at::kLong
                                            : point.dtype == HookDtype::kFloat32 || step
                                                ? at::kFloat
                                                : model.dtype();
      for (int s = 0; s < 3; ++s) {
        const int64_t length =
            static_cast<int64_t>(ThreeSequences()[static_cast<size_t>(s)].size());
        std::vector<int64_t> shape;
        for (const Axis& axis : point.axes) shape.push_back(axis.size == 0 ? length : axis.size);
        const at::Tensor& value = tap.Seen(point.name, s);
        EXPECT_EQ(value.sizes(), at::IntArrayRef(shape)) << point.name << " " << s;
        EXPECT_EQ(value.scalar_type(), expected_dtype) << point.name;
      }
    }
  }
}

TEST_P(Visits, WhatNobodyWantsIsNotVisited) {
  RecordingTap nobody(catalogue());
  Pass(Model(), ThreeSequences(), numerics(), nobody);
  EXPECT_THAT(nobody.visited(), IsEmpty());

  for (const HookPoint& point : catalogue().points()) {
    RecordingTap tap(catalogue());
    Pass(Model(), ThreeSequences(), numerics(), tap.Read(point.name));
    EXPECT_THAT(tap.visited(), ElementsAre(point.id)) << point.name;
  }
}

TEST_P(Visits, SequencesThatDoNotWantAHookPointAreNotShown) {
  for (const HookPoint& point : catalogue().points()) {
    if (point.layer > 0) continue;
    RecordingTap tap(catalogue());
    Pass(Model(), ThreeSequences(), numerics(), tap.Read(point.name, {1}));
    EXPECT_FALSE(tap.Seen(point.name, 0).defined()) << point.name;
    EXPECT_TRUE(tap.Seen(point.name, 1).defined()) << point.name;
    EXPECT_FALSE(tap.Seen(point.name, 2).defined()) << point.name;
  }
}

TEST_P(Visits, ReadingOneSequenceSeesWhatReadingAllDoes) {
  RecordingTap all(catalogue());
  RecordingTap one(catalogue());
  all.ReadEverything();
  for (const HookPoint& point : catalogue().points()) one.Read(point.name, {1});
  Pass(Model(), ThreeSequences(), numerics(), all);
  Pass(Model(), ThreeSequences(), numerics(), one);
  for (const HookPoint& point : catalogue().points()) {
    // This sequence is computed in steps in both passes; the others are not, and their bits differ.
    EXPECT_TRUE(SameBits(one.Seen(point.name, 1), all.Seen(point.name, 1))) << point.name;
  }
}

TEST_P(Visits, WhatWasShownIsNeverWrittenAgain) {
  RecordingTap tap(catalogue());
  Pass(Model(), ThreeSequences(), numerics(), tap.ReadEverything());
  EXPECT_EQ(tap.shown().size(), 3 * static_cast<size_t>(catalogue().size()));
  for (const auto& [shown, copy] : tap.shown()) EXPECT_TRUE(SameBits(shown, copy));
}

TEST_P(Visits, ATapThatReportsAnErrorEndsThePassWithIt) {
  const absl::Status cancelled = absl::CancelledError("the client went away");
  for (const HookPoint& point : catalogue().points()) {
    if (point.layer > 1) continue;
    RecordingTap tap(catalogue());
    tap.ReadEverything().FailAt(point.name, cancelled);
    EXPECT_EQ(TryPass(Model(), ThreeSequences(), numerics(), tap).status(), cancelled)
        << point.name;
    EXPECT_EQ(tap.visited().back(), point.id);
  }
}

TEST_P(Visits, AnErrorBetweenLayersEndsThePass) {
  const absl::Status late = absl::DeadlineExceededError("too late");
  RecordingTap tap(catalogue());
  tap.FailAfter(1, late);
  EXPECT_EQ(TryPass(Model(), ThreeSequences(), numerics(), tap).status(), late);
  EXPECT_THAT(tap.layers_done(), ElementsAre(0, 1));
}

TEST_P(Visits, AnErrorBetweenTwoStepsEndsThePassBeforeTheNext) {
  RecordingTap all(catalogue());
  Pass(Model(), ThreeSequences(), numerics(), all);
  ASSERT_GT(all.steps(), 10 * Model().config().n_layers());
  const absl::Status cancelled = absl::CancelledError("the client went away");
  // The steps of `reference` are the same, and its passes slow.
  for (int step = 0; step < all.steps(); step += reference() ? 11 : 1) {
    RecordingTap tap(catalogue());
    tap.FailBeforeStep(step, cancelled);
    EXPECT_EQ(TryPass(Model(), ThreeSequences(), numerics(), tap).status(), cancelled) << step;
    EXPECT_EQ(tap.steps(), step + 1);
  }
}

TEST(Steps, EachBlockOfLogitsIsOne) {
  const auto steps = [](int64_t max_logits_bytes) {
    const auto model = MakeTinyModel({}, {.dtype = {}, .max_logits_bytes = max_logits_bytes});
    RecordingTap tap(model->catalogue());
    Pass(*model, {std::vector<int64_t>(12, 5)}, Numerics::kFast, tap);
    return tap.steps();
  };
  const int64_t row = TinyOptions().d_vocab * 4;
  EXPECT_EQ(steps(3 * row) - steps(12 * row), 3) << "4 blocks of 3 rows in place of one of 12";
}

TEST_P(Visits, ATapThatChangesShapeOrDtypeIsAnInternalError) {
  const RecordingTap::Write bad_writes[] = {
      [](const at::Tensor& value) { return value.narrow(0, 0, 1).clone(); },
      [](const at::Tensor& value) { return value.unsqueeze(0); },
      [](const at::Tensor& value) { return value.flatten(); },
      [](const at::Tensor& value) { return value.to(at::kDouble); },
  };
  for (const HookPoint& point : catalogue().points()) {
    if (point.layer > 0 || !point.writable) continue;
    for (const RecordingTap::Write& write : bad_writes) {
      RecordingTap tap(catalogue());
      tap.WriteAt(point.name, write, {0});
      const absl::Status status = TryPass(Model(), ThreeSequences(), numerics(), tap).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << point.name;
      EXPECT_EQ(status.message(), absl::StrCat("a tap changed the shape or dtype at ", point.name));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Visits, AllModels(), ModelName);

TEST(Pass, LeavesNoExceptionToItsCaller) {
  const TextModel& model = TinyModel();
  RecordingTap nobody(model.catalogue());
  const auto state = model.Begin({{1, model.TokenLimit() + 1000}}, Numerics::kFast, nobody);
  EXPECT_EQ(state.status().code(), absl::StatusCode::kInternal);
}

TEST(Pass, ReadsThePadTokenInPlaceOfImages) {
  const TextModel& model = TinyModel();
  RecordingTap image(model.catalogue());
  RecordingTap pad(model.catalogue());
  image.ReadEverything();
  const auto with_image =
      Pass(model, {{3, 258'880, 258'884, 258'881, 4}}, Numerics::kReference, image);
  const auto with_pad = Pass(model, {{3, 0, 0, 0, 4}}, Numerics::kReference, pad.ReadEverything());
  EXPECT_TRUE(SameBits(with_image[0], with_pad[0]));
  EXPECT_TRUE(SameBits(image.Seen("embed.hook_in"), pad.Seen("embed.hook_in")));
}

TEST(Pass, TokenLimitIsTheSmallerTable) {
  EXPECT_EQ(TinyModel().TokenLimit(), 48);
  testing::TinyOptions options;
  options.d_vocab_per_layer_input = 40;
  EXPECT_EQ(testing::MakeTinyModel(options)->TokenLimit(), 40);
  options.d_vocab_per_layer_input = 60;
  EXPECT_EQ(testing::MakeTinyModel(options)->TokenLimit(), 48);
  EXPECT_EQ(TinyModel(TinyVariant::kUnified).TokenLimit(), 48);
}

}  // namespace
}  // namespace hookwire::model
