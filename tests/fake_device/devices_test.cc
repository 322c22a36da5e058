// Passes on one or several devices other than the CPU give the same results as on the CPU.
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/device.h"
#include "server/execute/device_copy.h"
#include "server/execute/emitter.h"
#include "tests/unit/execute/recording_output.h"
#include "tests/unit/support/run_specs.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Finished;
using hookwire::testing::MakeTinyModel;
using hookwire::testing::MustPlan;
using hookwire::testing::RecordingOutput;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyOptions;
using hookwire::testing::TinyVariant;
using ::testing::HasSubstr;

using Names = std::vector<std::string>;

std::unique_ptr<const model::TextModel> ModelOn(const Names& names, const TinyOptions& tiny,
                                                bool invariant = false) {
  const auto devices = OpenDevices(names);
  if (!devices.ok()) throw std::runtime_error(devices.status().ToString());
  std::vector<model::DeviceRoom> room;
  for (const at::Device device : *devices) room.push_back({device, FreeMemory(device)});
  return MakeTinyModel(tiny, {.dtype = {}, .devices = std::move(room), .invariant = invariant});
}

TinyOptions Tiny(TinyVariant variant, const char* dtype = "float32") {
  TinyOptions tiny;
  tiny.variant = variant;
  tiny.dtype = dtype;
  if (variant != TinyVariant::kEType) tiny.layers = "sfsf";
  return tiny;
}

const Names kOne = {"fake"};
const Names kSeveral = {"fake:0", "fake:2", "fake:1"};

// Reads, writes of each kind, and all outputs.
constexpr const char* kSpecs[] = {
    "captures { hook: '**' } outputs { logits {} log_probs {} }",
    "captures { hook: 'blocks.*.hook_out' dtype: DTYPE_FLOAT16 features { range { start: 1 step: 3 "
    "} } positions { indices { values: -1 values: 0 } } } stop_at_layer: 3 "
    "outputs { residual: true }",
    "captures { hook: 'blocks.2.hook_out' } captures { hook: 'blocks.2.hook_out' "
    "moment: MOMENT_BEFORE } outputs { logits { positions { indices { values: -1 } } } } "
    "interventions { hook: 'blocks.0.hook_resid_pre' sequences: 0 positions { indices { values: 1 }"
    " } copy { from_sequence: 1 } } "
    "interventions { hook: 'blocks.1.attn.hook_pattern' heads { indices { values: 1 } } "
    "scale { factor { scalar: 0.5 } } } "
    "interventions { hook: 'blocks.2.hook_out' add { value { scalar: 0.25 } } } "
    "interventions { hook: 'blocks.3.mlp.hook_out' zero {} }",
};

class OnDevices
    : public ::testing::TestWithParam<std::tuple<TinyVariant, const char*, model::Numerics>> {};

TEST_P(OnDevices, GiveWhatTheCpuGives) {
  const auto& [variant, dtype, numerics] = GetParam();
  const TinyOptions tiny = Tiny(variant, dtype);
  const bool invariant = numerics == model::Numerics::kInvariant;
  const Executor::Options options{.numerics = numerics};
  // The fake device copies views, and the bits of an expert's GELU depend on its input's layout.
  const bool bits = numerics == model::Numerics::kReference && variant != TinyVariant::kMoe;
  const auto cpu = ModelOn({"cpu"}, tiny, invariant);
  for (const Names& names : {kOne, kSeveral}) {
    const auto there = ModelOn(names, tiny, invariant);
    EXPECT_EQ(there->devices().size(), names.size());
    for (const char* const text : kSpecs) {
      const Finished expected = RunToEnd(Spec(text), *cpu, options);
      const Finished got = RunToEnd(Spec(text), *there, options);
      EXPECT_EQ(got.report.tensors, expected.report.tensors);
      EXPECT_EQ(got.report.bytes, expected.report.bytes);
      EXPECT_EQ(got.report.non_finite.size(), expected.report.non_finite.size());
      ASSERT_EQ(got.output.tensors.size(), expected.output.tensors.size());
      for (const auto& [index, tensor] : expected.output.tensors) {
        const at::Tensor& other = got.output.tensors.at(index);
        ASSERT_TRUE(other.is_cpu());
        ASSERT_EQ(other.scalar_type(), tensor.scalar_type());
        if (bits) {
          EXPECT_TRUE(at::equal(other, tensor)) << text << ", tensor " << index;
        } else {
          EXPECT_TRUE(at::allclose(other, tensor, 1e-3, 1e-4, /*equal_nan=*/true))
              << text << ", tensor " << index;
        }
      }
    }
  }
}

// Not in bfloat16, where other bits can change which expert is chosen: tests/parity compares these
// with a computation in float32.
INSTANTIATE_TEST_SUITE_P(
    Float32, OnDevices,
    ::testing::Combine(::testing::Values(TinyVariant::kEType, TinyVariant::kDense,
                                         TinyVariant::kMoe, TinyVariant::kUnified),
                       ::testing::Values("float32"),
                       ::testing::Values(model::Numerics::kReference, model::Numerics::kFast,
                                         model::Numerics::kInvariant)));
INSTANTIATE_TEST_SUITE_P(BFloat16, OnDevices,
                         ::testing::Combine(::testing::Values(TinyVariant::kEType,
                                                              TinyVariant::kDense,
                                                              TinyVariant::kUnified),
                                            ::testing::Values("bfloat16"),
                                            ::testing::Values(model::Numerics::kReference)));

TEST(Devices, HoldWholeLayersInOrderByTheirMemory) {
  TinyOptions tiny = Tiny(TinyVariant::kEType);
  tiny.layers = "sfsfsfsfsfsf";
  const auto there = ModelOn({"fake:0", "fake:1", "fake:2"}, tiny);
  std::vector<int> on;
  for (int layer = 0; layer < there->config().n_layers(); ++layer) {
    std::set<int> devices;
    for (const model::Parameter& parameter : there->parameters().all()) {
      if (parameter.name.rfind("blocks." + std::to_string(layer) + ".", 0) == 0) {
        devices.insert(parameter.tensor.device().index());
      }
    }
    ASSERT_EQ(devices.size(), 1u) << "layer " << layer;
    on.push_back(*devices.begin());
  }
  EXPECT_TRUE(std::is_sorted(on.begin(), on.end()));
  // Each has as much memory as its number plus one.
  EXPECT_LT(std::count(on.begin(), on.end(), 0), std::count(on.begin(), on.end(), 1));
  EXPECT_LT(std::count(on.begin(), on.end(), 1), std::count(on.begin(), on.end(), 2));
}

TEST(Devices, HaveACopyOfATiedWeightWhereTheyNeedIt) {
  const auto device_of = [](const model::TextModel& model, const char* name) {
    return model.parameters().Find(name)->device().str();
  };
  const TinyOptions tiny = Tiny(TinyVariant::kDense);
  const auto one = ModelOn({"fake:1"}, tiny);
  EXPECT_TRUE(
      one->parameters().Find("embed.weight")->is_same(*one->parameters().Find("unembed.weight")));
  const auto two = ModelOn({"fake:0", "fake:1"}, tiny);
  EXPECT_EQ(device_of(*two, "embed.weight"), "fake:0");
  EXPECT_EQ(device_of(*two, "unembed.weight"), "fake:1");
  EXPECT_EQ(two->n_params(), one->n_params());
}

TEST(Devices, AreRefusedWithTheCause) {
  EXPECT_THAT(OpenDevices({"fake:3"}).status().message(), HasSubstr("the last one is 2"));
  EXPECT_THAT(OpenDevices({"fake:1", "fake:1"}).status().message(), HasSubstr("named twice"));
  EXPECT_THAT(OpenDevices({"fake:0", "cpu"}).status().message(),
              HasSubstr("--device fake:0,cpu: devices of different kinds"));
  EXPECT_THAT(OpenDevices({"tpu"}).status().message(), HasSubstr("no such kind of device"));
  EXPECT_THAT(OpenDevices({"meta"}).status().message(), HasSubstr("no such device"));
}

// ---- copies ----

const at::Device kDevice(at::kPrivateUse1, 0);

TEST(DeviceCopy, HasArrivedOnlyOnceItWasWaitedFor) {
  const at::Tensor values = at::arange(6, at::kFloat).view({2, 3});
  DeviceCopy copy(values.to(kDevice));
  EXPECT_FALSE(copy.HasArrived());
  const at::Tensor host = copy.Take();
  EXPECT_TRUE(host.is_cpu());
  EXPECT_TRUE(host.is_pinned());
  EXPECT_TRUE(at::equal(host, values));
}

TEST(DeviceCopy, ArrivesByItself) {
  DeviceCopy copy(at::ones({4}, at::TensorOptions().device(kDevice)));
  int asked = 0;
  while (!copy.HasArrived()) ASSERT_LT(++asked, 10);
  EXPECT_TRUE(at::equal(copy.Take(), at::ones({4})));
}

TEST(DeviceCopy, HoldsItsSource) {
  at::Tensor source = at::ones({1000}, at::TensorOptions().device(kDevice));
  DeviceCopy copy(source);
  source.reset();
  EXPECT_TRUE(at::equal(copy.Take(), at::ones({1000})));
}

TensorPlan PlanOf(const at::Tensor& tensor) {
  TensorPlan plan;
  plan.shape.assign(tensor.sizes().begin(), tensor.sizes().end());
  plan.bytes = tensor.nbytes();
  return plan;
}

TEST(Emitter, GivesPartsOfALargeTensorInOrderAndCountsItOnce) {
  at::Tensor values = at::arange(3 << 20, at::kFloat).view({3 << 10, 1 << 10}).clone();  // 12 MiB
  const double infinity = std::numeric_limits<double>::infinity();
  values[5].fill_(infinity);
  values[3000][7].fill_(std::numeric_limits<double>::quiet_NaN());
  const TensorPlan tensor = PlanOf(values);
  RunPlan plan;
  plan.n_tensors = 1;
  for (const at::Tensor& source : {values, values.t().contiguous().t()}) {
    RecordingOutput output;
    hookwire::testing::BareContext context;
    Emitter emitter(plan, output, context);
    emitter.StartPass();
    const at::Tensor n_masked = at::full({}, 1000, at::kLong).to(kDevice);
    ASSERT_TRUE(emitter.Emit(tensor, at::kFloat, "hook", source.to(kDevice), n_masked).ok());
    ASSERT_TRUE(emitter.Flush().ok());
    EXPECT_EQ(output.order.size(), 3u);
    EXPECT_TRUE(at::allclose(output.tensors.at(0), values, 0, 0, /*equal_nan=*/true));
    const auto report = std::move(emitter).Finish();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->bytes, values.nbytes());
    ASSERT_EQ(report->non_finite.size(), 1u);
    EXPECT_EQ(report->non_finite[0].nan, 1u);
    EXPECT_EQ(report->non_finite[0].inf, 24u);
  }
}

TEST(Emitter, BoundsWhatIsOnItsWay) {
  // 64 MiB each: the third waits for the first.
  const at::Tensor values = at::ones({16, 1 << 20}, at::TensorOptions().device(kDevice));
  RunPlan plan;
  plan.n_tensors = 4;
  std::vector<TensorPlan> tensors(plan.n_tensors, PlanOf(values));
  RecordingOutput output;
  hookwire::testing::BareContext context;
  Emitter emitter(plan, output, context);
  emitter.StartPass();
  for (uint32_t i = 0; i < plan.n_tensors; ++i) {
    tensors[i].index = i;
    ASSERT_TRUE(emitter.Emit(tensors[i], at::kFloat, "hook", values).ok());
  }
  EXPECT_GE(output.order.size(), 16u);
  ASSERT_TRUE(emitter.Flush().ok());
  EXPECT_EQ(output.order.size(), 64u);
}

TEST(Emitter, EndsWhereTheSinkRefuses) {
  const auto there = ModelOn(kSeveral, Tiny(TinyVariant::kEType));
  const auto plan = MustPlan(Spec("captures { hook: '**' } outputs { logits {} }"), *there);
  for (const uint32_t last : {0u, 7u, 300u}) {
    RecordingOutput output;
    output.on_emit = [last](uint32_t index) {
      return index == last ? absl::CancelledError("the client is gone") : absl::OkStatus();
    };
    EXPECT_EQ(Executor(*there, {}).Execute(*plan, output).status(),
              absl::CancelledError("the client is gone"));
  }
}

// ---- memory ----

class SmallDevice : public ::testing::Test {
 protected:
  void TearDown() override { unsetenv("HOOKWIRE_FAKE_DEVICE_MB"); }
};

TEST_F(SmallDevice, ThatIsTooSmallForTheWeightsIsNamed) {
  setenv("HOOKWIRE_FAKE_DEVICE_MB", "0", 1);
  const hookwire::testing::TinyCheckpoint directory(Tiny(TinyVariant::kDense));
  const auto checkpoint = model::Checkpoint::Open(directory.directory());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto loaded = model::TextModel::Load(
      *checkpoint, {.dtype = {}, .devices = {{.device = kDevice, .bytes = 0}}});
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(loaded.status().message(), HasSubstr("out of device memory"));
}

TEST_F(SmallDevice, FailsTheRunThatIsTooLargeAndNoOther) {
  const auto there = ModelOn(kOne, Tiny(TinyVariant::kEType));
  std::string large;
  for (int i = 0; i < 200; ++i) large += hookwire::testing::Tokens(60, i);
  const auto too_large = MustPlan(Spec(large + "outputs { logits {} }"), *there);
  const auto small = MustPlan(Spec("outputs { logits {} }"), *there);
  setenv("HOOKWIRE_FAKE_DEVICE_MB", "4", 1);
  RecordingOutput outputs[2];
  const BatchedRun runs[] = {{too_large.get(), &outputs[0]}, {small.get(), &outputs[1]}};
  struct Reports final : BatchContext {
    void Done(size_t run, absl::StatusOr<ExecutionReport> report) override {
      status[run] = report.status();
    }
    absl::Status status[2] = {absl::UnknownError(""), absl::UnknownError("")};
  } reports;
  Executor(*there, {.max_batch_tokens = 100'000}).Execute(runs, reports);
  EXPECT_EQ(DetailsOf(reports.status[0]).reason, v1::ERROR_REASON_OUT_OF_MEMORY)
      << reports.status[0];
  EXPECT_TRUE(reports.status[1].ok()) << reports.status[1];
}

}  // namespace
}  // namespace hookwire::server
