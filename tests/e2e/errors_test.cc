// Every error of a request, over the wire: the code, the reason, the field to blame; and after each
// of them the server works as before.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "google/rpc/status.pb.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"

namespace hookwire::e2e {
namespace {

using absl::StatusCode;
using client::At;
using client::Capture;
using client::Copy;
using client::Float32;
using client::Scalar;
using client::Set;
using client::Slice;
using client::Zero;
using ::testing::HasSubstr;

using Errors = DaemonTest<Fast>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
const std::string kStream = "blocks.1.hook_resid_pre";

struct BadRequest {
  std::string what;
  // Spoils a run of one sequence of 15 tokens that asks for logits.
  std::function<void(v1::RunSpec&)> spoil;
  StatusCode code;
  v1::ErrorReason reason;
  std::string field;
  // What the message or the suggestion must name.
  std::string names = "";
};

std::function<void(v1::RunSpec&)> With(const v1::Capture& capture) {
  return [capture](v1::RunSpec& spec) { *spec.add_captures() = capture; };
}
std::function<void(v1::RunSpec&)> With(const v1::Intervention& intervention) {
  return [intervention](v1::RunSpec& spec) { *spec.add_interventions() = intervention; };
}

std::vector<BadRequest> BadNames() {
  return {
      {"an unknown hook", With(Capture("blocks.1.hook_resid_per")), StatusCode::kNotFound,
       v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[0].hook", kStream},
      {"an unknown hook to write", With(Zero("blocks.1.hook_resid_per")), StatusCode::kNotFound,
       v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.interventions[0].hook", kStream},
      {"a layer that is not there", With(Capture("blocks.6.hook_resid_pre")), StatusCode::kNotFound,
       v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[0].hook", "blocks.5.hook_resid_pre"},
      {"a glob with no match", With(Capture("blocks.*.hook_resid_per")), StatusCode::kNotFound,
       v1::ERROR_REASON_GLOB_NO_MATCH, "spec.captures[0].hook", "blocks.*.hook_resid_pre"},
      {"a hook that this layer does not have", With(Capture("blocks.5.attn.hook_k")),
       StatusCode::kNotFound, v1::ERROR_REASON_HOOK_ABSENT, "spec.captures[0].hook",
       "blocks.2.attn.hook_k"},
      {"a hook that this model does not have", With(Capture("blocks.0.router.hook_out")),
       StatusCode::kNotFound, v1::ERROR_REASON_HOOK_ABSENT, "spec.captures[0].hook", "experts"},
      {"a name with two meanings", With(Capture("rotary_emb.hook_cos")), StatusCode::kNotFound,
       v1::ERROR_REASON_HOOK_ABSENT, "spec.captures[0].hook", "rotary_emb.full_attention.hook_cos"},
      {"no name at all", With(Capture("")), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_BAD_FIELD, "spec.captures[0].hook"},
      {"a write where there is only reading", With(Zero("embed.hook_in")),
       StatusCode::kFailedPrecondition, v1::ERROR_REASON_HOOK_READ_ONLY,
       "spec.interventions[0].hook", "embed.hook_out"},
  };
}

std::vector<BadRequest> BadSequences() {
  return {
      {"no sequence", [](v1::RunSpec& spec) { spec.clear_sequences(); },
       StatusCode::kInvalidArgument, v1::ERROR_REASON_NO_SEQUENCES, "spec.sequences"},
      {"an empty sequence", [](v1::RunSpec& spec) { spec.add_sequences(); },
       StatusCode::kInvalidArgument, v1::ERROR_REASON_SEQUENCE_EMPTY, "spec.sequences[1]"},
      {"a token id out of range",
       [](v1::RunSpec& spec) {
         *spec.add_sequences() = client::Tokens({2, 59});
       },
       StatusCode::kOutOfRange, v1::ERROR_REASON_TOKEN_OUT_OF_RANGE,
       "spec.sequences[1].token_ids[1]", absl::StrCat(VocabularySize())},
      {"the largest token id",
       [](v1::RunSpec& spec) { *spec.add_sequences() = client::Tokens({0xFFFFFFFFU}); },
       StatusCode::kOutOfRange, v1::ERROR_REASON_TOKEN_OUT_OF_RANGE,
       "spec.sequences[1].token_ids[0]"},
      {"one token too many",
       [](v1::RunSpec& spec) { *spec.add_sequences() = client::Tokens(LongPrompt(129)); },
       StatusCode::kOutOfRange, v1::ERROR_REASON_SEQUENCE_TOO_LONG, "spec.sequences[1]", "128"},
      {"too many tokens in all",
       [](v1::RunSpec& spec) {
         for (int i = 0; i < 512; ++i) *spec.add_sequences() = client::Tokens(LongPrompt(128));
       },
       StatusCode::kResourceExhausted, v1::ERROR_REASON_TOO_MANY_TOKENS, "spec.sequences", "65536"},
      {"too many tensors",
       [](v1::RunSpec& spec) {
         for (int i = 0; i < 400; ++i) *spec.add_sequences() = client::Tokens({2});
         *spec.add_captures() = Capture("**");
       },
       StatusCode::kResourceExhausted, v1::ERROR_REASON_TOO_MANY_TENSORS, "spec.captures", "65536"},
      {"a capture of a sequence that is not there", With(Capture(kStream, {.sequences = {1}})),
       StatusCode::kOutOfRange, v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE,
       "spec.captures[0].sequences"},
      {"a change of a sequence that is not there", With(Zero(kStream, {.sequences = {0, 7}})),
       StatusCode::kOutOfRange, v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE,
       "spec.interventions[0].sequences"},
      {"a copy from a sequence that is not there", With(Copy(kStream, 1)), StatusCode::kOutOfRange,
       v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE, "spec.interventions[0].copy.from_sequence"},
      {"a sequence named twice", With(Capture(kStream, {.sequences = {0, 0}})),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].sequences"},
  };
}

std::vector<BadRequest> BadSelections() {
  const auto capture = [](const client::Where& where) { return With(Capture(kStream, where)); };
  return {
      {"a position out of range", capture({.pos = At(15)}), StatusCode::kOutOfRange,
       v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.captures[0].positions", "15"},
      {"a position before the first", capture({.pos = At(-16)}), StatusCode::kOutOfRange,
       v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.captures[0].positions"},
      {"the smallest position", capture({.pos = At(std::numeric_limits<int64_t>::min())}),
       StatusCode::kOutOfRange, v1::ERROR_REASON_POSITION_OUT_OF_RANGE,
       "spec.captures[0].positions"},
      {"a range that ends behind the last position", capture({.pos = Slice(0, 16)}),
       StatusCode::kOutOfRange, v1::ERROR_REASON_POSITION_OUT_OF_RANGE,
       "spec.captures[0].positions"},
      {"a range of nothing", capture({.pos = Slice(3, 3)}), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions"},
      {"a range that goes backwards", capture({.pos = Slice(3, 8, -1)}),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions"},
      {"a list of nothing", capture({.pos = At(absl::Span<const int64_t>())}),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions"},
      {"one position under two names", capture({.pos = At({14, -1})}), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions"},
      {"a position of a change out of range", With(Zero(kStream, {.pos = At(15)})),
       StatusCode::kOutOfRange, v1::ERROR_REASON_POSITION_OUT_OF_RANGE,
       "spec.interventions[0].positions"},
      {"a position of the logits out of range",
       [](v1::RunSpec& spec) {
         *spec.mutable_outputs()->mutable_logits()->mutable_positions() = At(15);
       },
       StatusCode::kOutOfRange, v1::ERROR_REASON_POSITION_OUT_OF_RANGE,
       "spec.outputs.logits.positions"},
      {"a head on a hook without heads", capture({.head = At(0)}), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_NO_HEADS, "spec.captures[0].heads"},
      {"a head out of range", With(Capture("blocks.1.attn.hook_q", {.head = At(4)})),
       StatusCode::kOutOfRange, v1::ERROR_REASON_HEAD_OUT_OF_RANGE, "spec.captures[0].heads"},
      {"a key-value head out of range", With(Capture("blocks.1.attn.hook_k", {.head = At(2)})),
       StatusCode::kOutOfRange, v1::ERROR_REASON_HEAD_OUT_OF_RANGE, "spec.captures[0].heads"},
      {"a feature out of range", capture({.feature = At(64)}), StatusCode::kOutOfRange,
       v1::ERROR_REASON_FEATURE_OUT_OF_RANGE, "spec.captures[0].features"},
      {"a feature on a hook without features", With(Capture("embed.hook_in", {.feature = At(0)})),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_NO_SUCH_AXIS, "spec.captures[0].features"},
      {"a copy between unequal numbers of positions",
       [](v1::RunSpec& spec) {
         *spec.add_sequences() = client::Tokens({2, 5, 6});
         *spec.add_interventions() = Copy(kStream, 0, {.sequences = {1}});
       },
       StatusCode::kInvalidArgument, v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].copy",
       "equally many"},
  };
}

std::vector<BadRequest> BadValues() {
  const auto set = [](const v1::Value& value) { return With(Set(kStream, value)); };
  v1::Value short_bytes = Float32({1, 2, 3, 4}, {4});
  short_bytes.mutable_tensor()->mutable_data()->pop_back();
  v1::Value huge = Float32({1}, {1ULL << 62U, 8});
  const std::vector<float> thirty(30);
  const std::vector<float> wide(64, kInf);
  return {
      {"a value of the wrong width", set(Float32(thirty, {30})), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value", "64"},
      {"a value with too many axes", set(Float32({1}, {1, 1, 1})), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value"},
      {"fewer bytes than the shape says", set(short_bytes), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value.tensor.data"},
      {"a shape whose size overflows", set(huge), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value.tensor.data"},
      {"integers", set(client::Bytes(v1::DTYPE_INT64, std::vector<std::byte>(8), {1})),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_VALUE_DTYPE,
       "spec.interventions[0].set.value.tensor.dtype"},
      {"no dtype", set(client::Bytes(v1::DTYPE_UNSPECIFIED, std::vector<std::byte>(4), {1})),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_VALUE_DTYPE,
       "spec.interventions[0].set.value.tensor.dtype"},
      {"NaN", set(Scalar(kNan)), StatusCode::kInvalidArgument, v1::ERROR_REASON_VALUE_NOT_FINITE,
       "spec.interventions[0].set.value"},
      {"infinity in a tensor", set(Float32(wide, {64})), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_VALUE_NOT_FINITE, "spec.interventions[0].set.value"},
      {"a number that the dtype cannot hold", set(Scalar(1e300)), StatusCode::kInvalidArgument,
       v1::ERROR_REASON_VALUE_NOT_FINITE, "spec.interventions[0].set.value"},
      {"+infinity at the scores", With(Set("blocks.1.attn.hook_attn_scores", Scalar(kInf))),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_VALUE_NOT_FINITE,
       "spec.interventions[0].set.value"},
      {"a factor that is infinite", With(client::Scale(kStream, Scalar(-kInf))),
       StatusCode::kInvalidArgument, v1::ERROR_REASON_VALUE_NOT_FINITE,
       "spec.interventions[0].scale.factor"},
  };
}

std::vector<BadRequest> BadEnds() {
  const auto stop_at = [](uint32_t layer, const auto& add) {
    return [layer, add](v1::RunSpec& spec) {
      spec.clear_outputs();
      spec.set_stop_at_layer(layer);
      add(spec);
    };
  };
  return {
      {"a change behind the end", stop_at(1, With(Zero(kStream))), StatusCode::kFailedPrecondition,
       v1::ERROR_REASON_NEVER_FIRES, "spec.interventions[0].hook"},
      {"a capture behind the end", stop_at(1, With(Capture(kStream))),
       StatusCode::kFailedPrecondition, v1::ERROR_REASON_NEVER_FIRES, "spec.captures[0].hook"},
      {"logits behind the end", [](v1::RunSpec& spec) { spec.set_stop_at_layer(6); },
       StatusCode::kFailedPrecondition, v1::ERROR_REASON_NEVER_FIRES, "spec.outputs.logits"},
      {"an end that is not there",
       stop_at(7, [](v1::RunSpec& spec) { spec.mutable_outputs()->set_residual(true); }),
       StatusCode::kOutOfRange, v1::ERROR_REASON_STOP_OUT_OF_RANGE, "spec.stop_at_layer", "6"},
      {"a residual without an end",
       [](v1::RunSpec& spec) { spec.mutable_outputs()->set_residual(true); },
       StatusCode::kInvalidArgument, v1::ERROR_REASON_BAD_FIELD, "spec.outputs.residual",
       "stop_at_layer"},
  };
}

std::vector<BadRequest> BadFields() {
  const auto spoil_capture = [](const std::function<void(v1::Capture&)>& spoil) {
    return [spoil](v1::RunSpec& spec) {
      *spec.add_captures() = Capture(kStream);
      spoil(*spec.mutable_captures(0));
    };
  };
  const StatusCode code = StatusCode::kInvalidArgument;
  const v1::ErrorReason reason = v1::ERROR_REASON_BAD_FIELD;
  return {
      {"an intervention that does nothing",
       [](v1::RunSpec& spec) { spec.add_interventions()->set_hook(kStream); }, code, reason,
       "spec.interventions[0]"},
      {"a set without a value",
       [](v1::RunSpec& spec) {
         spec.add_interventions()->set_hook(kStream);
         spec.mutable_interventions(0)->mutable_set();
       },
       code, reason, "spec.interventions[0].set.value"},
      {"a value without a kind", With(Set(kStream, v1::Value())), code, reason,
       "spec.interventions[0].set.value"},
      {"a selection without a kind", With(Capture(kStream, {.pos = v1::Selection()})), code, reason,
       "spec.captures[0].positions"},
      {"a selection of logits without a kind",
       [](v1::RunSpec& spec) {
         spec.mutable_outputs()->mutable_logits()->mutable_positions()->Clear();
       },
       code, reason, "spec.outputs.logits.positions"},
      {"an unknown dtype",
       spoil_capture([](v1::Capture& c) { c.set_dtype(static_cast<v1::Dtype>(99)); }), code, reason,
       "spec.captures[0].dtype", "99"},
      {"an unknown moment",
       spoil_capture([](v1::Capture& c) { c.set_moment(static_cast<v1::Moment>(99)); }), code,
       reason, "spec.captures[0].moment"},
      {"an unknown way to miss",
       spoil_capture([](v1::Capture& c) { c.set_missing(static_cast<v1::Missing>(-1)); }), code,
       reason, "spec.captures[0].missing"},
      {"an unknown dtype of a value",
       With(Set(kStream, client::Bytes(static_cast<v1::Dtype>(6), std::vector<std::byte>(4), {1}))),
       code, reason, "spec.interventions[0].set.value.tensor.dtype"},
      {"a message size that is too small", [](v1::RunSpec& spec) { spec.set_max_message_bytes(1); },
       code, reason, "spec.max_message_bytes"},
  };
}

class EveryError : public Errors {
 protected:
  // Plan and Run must both refuse, with the same words.
  void Check(const std::vector<BadRequest>& requests) {
    for (const BadRequest& request : requests) {
      SCOPED_TRACE(request.what);
      v1::RunSpec spec = SpecOf({CleanPrompt()});
      spec.mutable_outputs()->mutable_logits();
      request.spoil(spec);
      const auto run = client().Collect(spec);
      EXPECT_THAT(StatusOf(run), IsError(request.code, request.reason));
      CheckDetail(request, run.status());
      const auto plan = client().Plan(spec);
      EXPECT_THAT(StatusOf(plan), IsError(request.code, request.reason));
      EXPECT_EQ(plan.status().message(), run.status().message());
      ExpectGoodRunWorks();
    }
  }

 private:
  static void CheckDetail(const BadRequest& request, const absl::Status& status) {
    const auto detail = client::DetailOf(status);
    if (!detail) return;
    EXPECT_EQ(detail->field, request.field) << status;
    EXPECT_FALSE(status.message().empty());
    const std::string said = absl::StrCat(status.message(), " ", detail->suggestion);
    EXPECT_THAT(said, HasSubstr(request.names));
  }
};

TEST_F(EveryError, OfNames) { Check(BadNames()); }
TEST_F(EveryError, OfSequences) { Check(BadSequences()); }
TEST_F(EveryError, OfSelections) { Check(BadSelections()); }
TEST_F(EveryError, OfValues) { Check(BadValues()); }
TEST_F(EveryError, OfEnds) { Check(BadEnds()); }
TEST_F(EveryError, OfFields) { Check(BadFields()); }

TEST_F(Errors, AResultOverTheLimitIsRefusedWithItsExactBytes) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), LongPrompt(50)});
  *spec.add_captures() = Capture("**");
  const auto plan = client().Plan(spec);
  ASSERT_THAT(StatusOf(plan), IsOk());
  const uint64_t bytes = plan->total_bytes();

  spec.set_max_result_bytes(bytes);
  const auto whole = client().Collect(spec);
  ASSERT_THAT(StatusOf(whole), IsOk());
  EXPECT_EQ(whole->receipt.bytes(), bytes);

  spec.set_max_result_bytes(bytes - 1);
  const auto refused = client().Collect(spec);
  ASSERT_THAT(StatusOf(refused),
              IsError(StatusCode::kResourceExhausted, v1::ERROR_REASON_RESULT_TOO_LARGE));
  auto detail = *client::DetailOf(refused.status());
  EXPECT_EQ(detail.metadata["bytes"], absl::StrCat(bytes));
  EXPECT_EQ(detail.metadata["limit"], absl::StrCat(bytes - 1));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(absl::StrCat(bytes)));
}

TEST_F(Errors, StayShortHoweverLongTheRequestIs) {
  for (const std::string& hook :
       {std::string(1 << 20, 'x'), std::string(1 << 20, '*'), std::string(300'000, '.') + "*",
        absl::StrCat("blocks.", std::string(100'000, '9'), ".hook_in")}) {
    v1::RunSpec spec = SpecOf({CleanPrompt()});
    *spec.add_captures() = Capture(hook);
    const absl::Status status = client().Collect(spec).status();
    EXPECT_EQ(status.code(), StatusCode::kNotFound);
    const auto payload = status.GetPayload("type.googleapis.com/google.rpc.Status");
    ASSERT_TRUE(payload);
    EXPECT_LE(status.message().size() + payload->size(), 4096U);
    ExpectGoodRunWorks();
  }
}

TEST_F(Errors, MissingNamesCanBeSkipped) {
  v1::RunSpec spec = GoodSpec();
  for (const char* hook : {"blocks.5.attn.hook_k", "blocks.4.attn.v.*"}) {
    *spec.add_captures() = Capture(hook);
    spec.mutable_captures()->rbegin()->set_missing(v1::MISSING_SKIP);
  }
  const auto result = client().Collect(spec);
  ASSERT_THAT(StatusOf(result), IsOk());
  EXPECT_EQ(result->tensors.size(), 1U);
  EXPECT_THAT(result->plan.skipped(),
              ::testing::ElementsAre("blocks.5.attn.hook_k", "blocks.4.attn.v.*"));
  for (const char* hook : {"no.such.hook", "no.such.*"}) {
    spec.mutable_captures()->rbegin()->set_hook(hook);
    EXPECT_THAT(StatusOf(client().Collect(spec)), HasCode(absl::StatusCode::kNotFound)) << hook;
  }
}

}  // namespace
}  // namespace hookwire::e2e
