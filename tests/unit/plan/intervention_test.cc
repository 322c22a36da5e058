// What a request changes.
#include <ATen/ops/allclose.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/support/run_specs.h"

namespace hookwire::server {
namespace {

using hookwire::testing::ExpectRefused;
using hookwire::testing::MetadataOf;
using hookwire::testing::MustPlan;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;
using hookwire::testing::TryPlan;
using ::testing::SizeIs;

// With logits wanted, every intervention can show.
v1::RunSpec Changing(const std::string& intervention) {
  return Spec("interventions { " + intervention + " } outputs { logits {} }");
}

// `set` at a place, with a float32 tensor of the shape.
v1::RunSpec SettingTensor(const std::string& where, const std::vector<uint64_t>& shape,
                          const std::vector<float>& numbers) {
  v1::RunSpec spec = Changing(where + " set { value { tensor { dtype: DTYPE_FLOAT32 } } }");
  v1::TensorValue* value =
      spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor();
  value->mutable_shape()->Assign(shape.begin(), shape.end());
  value->set_data(
      std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)));
  return spec;
}

v1::RunSpec SettingTensor(const std::string& where, const std::vector<uint64_t>& shape) {
  uint64_t elements = 1;
  for (const uint64_t size : shape) elements *= size;
  return SettingTensor(where, shape, std::vector<float>(elements, 1.0F));
}

v1::RunSpec SettingScalar(const std::string& hook, double number, const std::string& op = "set") {
  v1::RunSpec spec = Changing("hook: '" + hook + "'");
  v1::Intervention* intervention = spec.mutable_interventions(0);
  if (op == "scale") {
    intervention->mutable_scale()->mutable_factor()->set_scalar(number);
  } else if (op == "add") {
    intervention->mutable_add()->mutable_value()->set_scalar(number);
  } else {
    intervention->mutable_set()->mutable_value()->set_scalar(number);
  }
  return spec;
}

constexpr char kValue[] = "spec.interventions[0].set.value";

TEST(RunPlan, KeepsInterventionsInTheOrderOfTheRequest) {
  const auto plan = MustPlan(Spec(R"pb(
    interventions {
      hook: "blocks.3.hook_out"
      zero {}
    }
    interventions {
      hook: "hook_embed"
      scale { factor { scalar: 2 } }
    }
    outputs { logits {} }
  )pb"));
  ASSERT_THAT(plan->ops, SizeIs(2));
  EXPECT_EQ(plan->ops[0].kind, OpKind::kZero);
  EXPECT_EQ(plan->ops[1].kind, OpKind::kScale);
  EXPECT_EQ(plan->ops[1].scalar, 2.0);
  EXPECT_EQ(plan->ops[1].intervention, 1u);
  EXPECT_THAT(plan->ops[0].targets, SizeIs(2));
}

TEST(RunPlan, ChangesEachHookPointOfAGlobOnce) {
  // Each of these has an alias that the glob matches too.
  const auto plan = MustPlan(Changing("hook: 'blocks.*.**_out' zero {}"));
  std::vector<model::HookId> hooks;
  for (const OpPlan& op : plan->ops) hooks.push_back(op.hook);
  std::vector<model::HookId> distinct = hooks;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  EXPECT_EQ(hooks, distinct);
  EXPECT_GT(hooks.size(), size_t{60});
}

TEST(RunPlan, RejectsWritesToAReadOnlyHook) {
  const absl::Status status = TryPlan(Changing("hook: 'embed.hook_in' zero {}")).status();
  ExpectRefused(status, {v1::ERROR_REASON_HOOK_READ_ONLY, "spec.interventions[0].hook",
                         "embed.hook_in cannot be written: token ids are the request's own"});
  EXPECT_EQ(MetadataOf(status, "hook"), "embed.hook_in");
}

TEST(RunPlan, RejectsAGlobThatMatchesAReadOnlyHook) {
  ExpectRefused(Changing("hook: 'embed.*' zero {}"),
                {v1::ERROR_REASON_HOOK_READ_ONLY, "spec.interventions[0].hook",
                 "embed.hook_in (matched by 'embed.*') cannot be written"});
}

TEST(RunPlan, RejectsInterventionsAtHooksThatAreNotThere) {
  ExpectRefused(
      Changing("hook: 'blocks.1.hook_resid_pos' zero {}"),
      {v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.interventions[0].hook", "blocks.1.hook_resid_post"});
  ExpectRefused(Changing("hook: 'blocks.5.attn.hook_v' zero {}"),
                {v1::ERROR_REASON_HOOK_ABSENT, "spec.interventions[0].hook", "layer 3"});
  ExpectRefused(Changing("hook: 'blocks.*.nothing' zero {}"),
                {v1::ERROR_REASON_GLOB_NO_MATCH, "spec.interventions[0].hook", "nothing"});
}

TEST(RunPlan, RejectsSelectionsOfInterventionsAsOfCaptures) {
  ExpectRefused(Changing("hook: 'hook_embed' heads { indices { values: 0 } } zero {}"),
                {v1::ERROR_REASON_NO_HEADS, "spec.interventions[0].heads", "no heads"});
  ExpectRefused(
      Changing("hook: 'hook_embed' sequences: 9 zero {}"),
      {v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE, "spec.interventions[0].sequences", "no sequence 9"});
  ExpectRefused(
      Changing("hook: 'hook_embed' positions { indices { values: 3 } } zero {}"),
      {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.interventions[0].positions", "sequence 1"});
}

// Whether a change can show.

TEST(RunPlan, RejectsInterventionsBehindTheStop) {
  ExpectRefused(Spec(R"pb(
                  stop_at_layer: 2
                  captures { hook: "blocks.1.hook_out" }
                  interventions {
                    hook: "blocks.2.hook_in"
                    zero {}
                  }
                )pb"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.interventions[0].hook",
                 "blocks.2.hook_in never fires: the pass ends before layer 2"});
}

TEST(RunPlan, RejectsInterventionsBehindTheLastCapture) {
  ExpectRefused(Spec(R"pb(
                  captures { hook: "blocks.1.hook_out" }
                  interventions {
                    hook: "blocks.2.hook_in"
                    zero {}
                  }
                )pb"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.interventions[0].hook",
                 "a change at blocks.2.hook_in can never show: the pass ends after "
                 "blocks.1.hook_out, the last place that is read"});
}

TEST(RunPlan, RejectsInterventionsAtAHookThatIsReadBeforeThemAlone) {
  const std::string text = R"pb(
    interventions {
      hook: "blocks.1.hook_out"
      zero {}
    }
    captures { hook: "blocks.1.hook_out" moment: MOMENT_BEFORE }
  )pb";
  ExpectRefused(Spec(text), {v1::ERROR_REASON_NEVER_FIRES, "spec.interventions[0].hook",
                             "(read before interventions)"});
  EXPECT_TRUE(TryPlan(Spec(text + "captures { hook: 'blocks.1.hook_out' }")).ok());
}

TEST(RunPlan, RejectsInterventionsOfARunThatReturnsNothing) {
  ExpectRefused(
      Spec("interventions { hook: 'hook_embed' zero {} }"),
      {v1::ERROR_REASON_NEVER_FIRES, "spec.interventions[0].hook", "the run returns nothing"});
}

TEST(RunPlan, AllowsInterventionsAnywhereBeforeTheLogits) {
  EXPECT_TRUE(TryPlan(Changing("hook: 'hook_logits' zero {}")).ok());
  EXPECT_TRUE(TryPlan(Spec(R"pb(
                interventions {
                  hook: "hook_logits"
                  zero {}
                }
                outputs { log_probs {} }
              )pb"))
                  .ok());
}

TEST(RunPlan, AllowsInterventionsAnywhereBeforeTheResidual) {
  EXPECT_TRUE(TryPlan(Spec(R"pb(
                stop_at_layer: 2
                interventions {
                  hook: "blocks.1.hook_out"
                  zero {}
                }
                outputs { residual: true }
              )pb"))
                  .ok());
}

// Values.

TEST(RunPlan, TakesValuesThatBroadcast) {
  const std::string z = "hook: 'blocks.0.attn.hook_z' positions { indices { values: [0, 2] } }";
  for (const std::vector<uint64_t>& shape : std::vector<std::vector<uint64_t>>{
           {}, {1}, {8}, {4, 8}, {4, 1}, {2, 4, 8}, {2, 1, 1}, {1, 4, 1}}) {
    const auto plan = TryPlan(SettingTensor(z, shape));
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ((*plan)->ops[0].value.dim(), static_cast<int64_t>(shape.size()));
  }
}

TEST(RunPlan, RejectsValuesThatDoNotFitTheSelectedSlice) {
  const std::string where = "hook: 'hook_embed' positions { indices { values: [0, 2] } }";
  const absl::Status status = TryPlan(SettingTensor(where, {3, 32})).status();
  ExpectRefused(status,
                {v1::ERROR_REASON_VALUE_SHAPE, kValue,
                 "a value of shape [3, 32] does not fit the selected slice of embed.hook_out in "
                 "sequence 0, which is [2, 32]"});
  EXPECT_EQ(MetadataOf(status, "expected"), "[2, 32]");
  EXPECT_EQ(MetadataOf(status, "got"), "[3, 32]");
}

TEST(RunPlan, RejectsValuesThatFitOneSequenceAndNotTheOther) {
  ExpectRefused(SettingTensor("hook: 'hook_embed'", {5, 32}),
                {v1::ERROR_REASON_VALUE_SHAPE, kValue, "in sequence 1, which is [3, 32]"});
  EXPECT_TRUE(TryPlan(SettingTensor("hook: 'hook_embed' sequences: 0", {5, 32})).ok());
}

TEST(RunPlan, HintsAtWhatWasMeant) {
  const auto expect_hint = [](const std::string& where, const std::vector<uint64_t>& shape,
                              const std::string& hint) {
    ExpectRefused(SettingTensor(where, shape), {v1::ERROR_REASON_VALUE_SHAPE, kValue, hint});
  };
  const std::string embed = "hook: 'hook_embed' sequences: 0";
  expect_hint(embed, {1, 5, 32}, "values have no batch axis");
  expect_hint(embed, {5}, "send [5, 1]");
  expect_hint(embed, {32, 5}, "transposed");
  expect_hint(embed, {160}, "reshape it to [5, 32]");
  expect_hint(embed + " positions { indices { values: [0, 1] } }", {5, 32},
              "the shape of the whole tensor");
  expect_hint("hook: 'blocks.0.attn.hook_z' sequences: 0", {5, 32}, "reshape it to [5, 4, 8]");
}

TEST(RunPlan, RejectsValuesWhoseBytesAreNotTheirShapes) {
  v1::RunSpec spec = SettingTensor("hook: 'hook_embed'", {32});
  spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor()->set_data(
      std::string(127, '\0'));
  ExpectRefused(spec, {v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value.tensor.data",
                       "a float32 value of shape [32] takes 128 bytes, and 127 came"});
}

TEST(RunPlan, RejectsShapesThatOverflow) {
  v1::RunSpec spec = SettingTensor("hook: 'hook_embed'", {});
  v1::TensorValue* value =
      spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor();
  // The product is 2^64, which is 0 to whoever does not look.
  for (int i = 0; i < 2; ++i) value->add_shape(uint64_t{1} << 31);
  value->set_data("");
  ExpectRefused(spec, {v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value.tensor.data",
                       "more than 2^64 bytes"});
}

TEST(RunPlan, RejectsEmptyValues) {
  for (const auto& shape : std::vector<std::vector<uint64_t>>{{0}, {uint64_t{1} << 63, 0}}) {
    v1::RunSpec spec = SettingTensor("hook: 'hook_embed'", {});
    v1::TensorValue* value =
        spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor();
    value->mutable_shape()->Assign(shape.begin(), shape.end());
    value->set_data("");
    ExpectRefused(spec, {v1::ERROR_REASON_VALUE_SHAPE,
                         "spec.interventions[0].set.value.tensor.shape", "no elements"});
  }
}

TEST(RunPlan, RejectsValuesOfManyAxes) {
  ExpectRefused(SettingTensor("hook: 'hook_embed'", {1, 1, 1, 1, 32}),
                {v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].set.value.tensor",
                 "the value has 5 axes"});
}

TEST(RunPlan, RejectsValuesThatAreNoFloatingPointNumbers) {
  v1::RunSpec spec = SettingTensor("hook: 'hook_embed'", {32});
  v1::TensorValue* value =
      spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor();
  for (const v1::Dtype dtype : {v1::DTYPE_INT64, v1::DTYPE_UNSPECIFIED}) {
    value->set_dtype(dtype);
    ExpectRefused(spec,
                  {v1::ERROR_REASON_VALUE_DTYPE, "spec.interventions[0].set.value.tensor.dtype",
                   "a value cannot be " + v1::Dtype_Name(dtype)});
  }
}

TEST(RunPlan, ConvertsValuesToTheHookPointsDtype) {
  const auto& model = TinyModel(TinyVariant::kMoe, "bfloat16");
  std::vector<float> numbers(32, 1.0F);
  numbers[0] = 1.00390625F;  // halfway between two bfloat16 numbers: to the even one
  const auto plan = MustPlan(SettingTensor("hook: 'hook_embed'", {32}, numbers), model);
  EXPECT_EQ(plan->ops[0].value.scalar_type(), at::kBFloat16);
  EXPECT_EQ(plan->ops[0].value[0].item<float>(), 1.0F);
  const auto router = MustPlan(SettingTensor("hook: 'blocks.0.router.hook_out'", {4}), model);
  EXPECT_EQ(router->ops[0].value.scalar_type(), at::kFloat);
}

TEST(RunPlan, TakesValuesOfEveryFloatingPointDtype) {
  const std::vector<std::pair<v1::Dtype, std::string>> ones = {
      {v1::DTYPE_FLOAT32, std::string("\x00\x00\x80\x3f", 4)},
      {v1::DTYPE_BFLOAT16, std::string("\x80\x3f", 2)},
      {v1::DTYPE_FLOAT16, std::string("\x00\x3c", 2)},
      {v1::DTYPE_FLOAT64, std::string("\x00\x00\x00\x00\x00\x00\xf0\x3f", 8)},
  };
  for (const auto& [dtype, bytes] : ones) {
    v1::RunSpec spec = SettingTensor("hook: 'hook_embed'", {1});
    v1::TensorValue* value =
        spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor();
    value->set_dtype(dtype);
    value->set_data(bytes);
    const auto plan = MustPlan(spec);
    EXPECT_EQ(plan->ops[0].value.item<float>(), 1.0F) << v1::Dtype_Name(dtype);
  }
}

TEST(RunPlan, RejectsNumbersThatAreNotFinite) {
  for (const char* op : {"set", "add", "scale"}) {
    const std::string field = std::string("spec.interventions[0].") + op +
                              (std::string(op) == "scale" ? ".factor" : ".value");
    ExpectRefused(SettingScalar("hook_embed", NAN, op),
                  {v1::ERROR_REASON_VALUE_NOT_FINITE, field, "the value is NaN"});
    ExpectRefused(SettingScalar("hook_embed", INFINITY, op),
                  {v1::ERROR_REASON_VALUE_NOT_FINITE, field, "the value is inf"});
    v1::RunSpec allowed = SettingScalar("hook_embed", NAN, op);
    allowed.set_allow_non_finite(true);
    EXPECT_TRUE(TryPlan(allowed).ok());
  }
}

TEST(RunPlan, RejectsTensorsThatAreNotFinite) {
  std::vector<float> numbers(64, 1.0F);
  numbers[37] = NAN;
  const v1::RunSpec spec = SettingTensor(
      "hook: 'hook_embed' positions { indices { values: [0, 1] } }", {2, 32}, numbers);
  ExpectRefused(spec, {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "the value at [1, 5] is NaN"});
  v1::RunSpec allowed = spec;
  allowed.set_allow_non_finite(true);
  EXPECT_TRUE(TryPlan(allowed).ok());
}

TEST(RunPlan, TakesNegativeInfinityAtAttentionScores) {
  const std::string scores = "blocks.0.attn.hook_attn_scores";
  EXPECT_TRUE(TryPlan(SettingScalar(scores, -INFINITY)).ok());
  EXPECT_TRUE(TryPlan(SettingTensor("hook: '" + scores + "'", {1}, {-INFINITY})).ok());
  ExpectRefused(SettingScalar(scores, INFINITY),
                {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "inf"});
  ExpectRefused(SettingTensor("hook: '" + scores + "'", {1}, {NAN}),
                {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "NaN"});
  ExpectRefused(SettingScalar("blocks.0.attn.hook_pattern", -INFINITY),
                {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "-inf"});
  // One value for several hook points, of which one may take it.
  ExpectRefused(
      SettingTensor("hook: 'blocks.0.attn.hook_*'", {1}, {-INFINITY}),
      {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "set allow_non_finite if blocks.0.attn."});
}

TEST(RunPlan, RejectsNumbersThatAreInfiniteInTheHookPointsDtype) {
  ExpectRefused(SettingScalar("hook_embed", 1e39),
                {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue,
                 "the value is 1e+39, which is infinite in float32, the dtype of embed.hook_out"});
  const auto& model = TinyModel(TinyVariant::kMoe, "bfloat16");
  ExpectRefused(SettingTensor("hook: 'hook_embed'", {1}, {std::numeric_limits<float>::max()}),
                {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "is infinite in bfloat16"}, model);
  // A large number is no −inf that was meant.
  ExpectRefused(SettingScalar("blocks.0.attn.hook_attn_scores", -1e39),
                {v1::ERROR_REASON_VALUE_NOT_FINITE, kValue, "is infinite in float32"});
  v1::RunSpec allowed = SettingScalar("hook_embed", 1e39);
  allowed.set_allow_non_finite(true);
  EXPECT_TRUE(TryPlan(allowed).ok());
}

// Copies.

TEST(RunPlan, CopiesIntoAllOtherSequences) {
  const auto plan = MustPlan(Changing(
      "hook: 'hook_embed' positions { indices { values: -1 } } copy { from_sequence: 1 }"));
  ASSERT_THAT(plan->ops, SizeIs(1));
  ASSERT_THAT(plan->ops[0].targets, SizeIs(1));
  EXPECT_EQ(plan->ops[0].targets[0].sequence, 0);
  EXPECT_EQ(plan->ops[0].targets[0].picks[0].start, 4);
  EXPECT_EQ(plan->ops[0].sources[0].sequence, 1);
  EXPECT_EQ(plan->ops[0].sources[0].picks[0].start, 2);
}

TEST(RunPlan, RejectsCopiesOfAnotherShape) {
  const absl::Status status =
      TryPlan(Changing("hook: 'hook_embed' copy { from_sequence: 1 }")).status();
  ExpectRefused(status, {v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].copy",
                         "the slice of embed.hook_out in sequence 1 (3 tokens) is [3, 32], and in "
                         "sequence 0 (5 tokens) it is [5, 32]: select equally many positions"});
  EXPECT_EQ(MetadataOf(status, "expected"), "[5, 32]");
  ExpectRefused(
      Changing("hook: 'blocks.0.attn.hook_pattern' positions { indices { values: 0 } } "
               "copy { from_sequence: 1 }"),
      {v1::ERROR_REASON_VALUE_SHAPE, "spec.interventions[0].copy", "and key positions (features)"});
}

TEST(RunPlan, RejectsCopiesFromASequenceThatIsNotThere) {
  ExpectRefused(Changing("hook: 'hook_embed' copy { from_sequence: 2 }"),
                {v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE, "spec.interventions[0].copy.from_sequence",
                 "there is no sequence 2"});
}

TEST(RunPlan, RejectsCopiesOntoThemselves) {
  ExpectRefused(Changing("hook: 'hook_embed' sequences: 1 copy { from_sequence: 1 }"),
                {v1::ERROR_REASON_BAD_SELECTION, "spec.interventions[0].copy.from_sequence",
                 "sequence 1 would be copied onto itself"});
}

}  // namespace
}  // namespace hookwire::server
