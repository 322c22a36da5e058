// Tensors that are written into the output's own buffers are those that it would get otherwise.
#include <ATen/ops/arange.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/execute/emitter.h"
#include "tests/unit/execute/recording_output.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Finished;
using hookwire::testing::MustPlan;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;

// Memory for each tensor of a plan, and what has been given.
class BufferOutput final : public hookwire::testing::BareOutput {
 public:
  explicit BufferOutput(const RunPlan& plan) {
    for (const CapturePlan& capture : plan.captures) Add(capture.tensors);
    for (const OutputPlan& output : plan.outputs) Add(output.tensors);
  }

  uint8_t* Buffer(uint32_t index, uint64_t offset, uint64_t bytes) override {
    std::vector<uint8_t>& memory = memory_.at(index);
    EXPECT_LE(offset + bytes, memory.size());
    return memory.data() + offset;
  }

  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> /*waits*/) override {
    EXPECT_EQ(offset, given[index]) << "tensor " << index << " does not go on where it was";
    if (tensor.nbytes() != 0) {
      EXPECT_EQ(tensor.const_data_ptr(), memory_.at(index).data() + offset);
    }
    given[index] += tensor.nbytes();
    ++pieces;
    return absl::OkStatus();
  }
  absl::Status Progress(int) override { return absl::OkStatus(); }

  const std::vector<uint8_t>& memory(uint32_t index) const { return memory_.at(index); }

  // Bytes by tensor.
  std::map<uint32_t, uint64_t> given;
  int pieces = 0;

 private:
  void Add(const std::vector<TensorPlan>& tensors) {
    for (const TensorPlan& tensor : tensors) {
      std::vector<uint8_t>& memory = memory_[tensor.index];
      // A buffer that is not null, for a tensor of no bytes too.
      memory.reserve(tensor.bytes + 1);
      memory.resize(tensor.bytes);
    }
  }

  std::map<uint32_t, std::vector<uint8_t>> memory_;
};

void ExpectTheSame(const v1::RunSpec& spec, const model::TextModel& model,
                   const Executor::Options& options = {}) {
  const Finished expected = RunToEnd(spec, model, options);
  const auto plan = MustPlan(spec, model);
  BufferOutput output(*plan);
  const auto report = Executor(model, options).Execute(*plan, output);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->tensors, expected.report.tensors);
  EXPECT_EQ(report->bytes, expected.report.bytes);
  ASSERT_EQ(report->non_finite.size(), expected.report.non_finite.size());
  for (size_t i = 0; i < report->non_finite.size(); ++i) {
    EXPECT_EQ(report->non_finite[i].hook, expected.report.non_finite[i].hook);
    EXPECT_EQ(report->non_finite[i].nan, expected.report.non_finite[i].nan);
    EXPECT_EQ(report->non_finite[i].inf, expected.report.non_finite[i].inf);
  }
  ASSERT_EQ(output.given.size(), expected.output.tensors.size());
  for (const auto& [index, tensor] : expected.output.tensors) {
    ASSERT_EQ(output.given.at(index), tensor.nbytes());
    const auto* const bytes = static_cast<const uint8_t*>(tensor.const_data_ptr());
    const std::vector<uint8_t> want(bytes, bytes + tensor.nbytes());
    EXPECT_EQ(output.memory(index), want) << "tensor " << index;
  }
}

TEST(Place, EveryHookPointOfEveryKindOfModel) {
  for (const TinyVariant variant :
       {TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe, TinyVariant::kUnified}) {
    ExpectTheSame(Spec("captures { hook: '**' } outputs { logits {} log_probs {} }"),
                  TinyModel(variant));
  }
}

TEST(Place, OtherDtypesAndSelections) {
  for (const char* dtype : {"DTYPE_FLOAT32", "DTYPE_BFLOAT16", "DTYPE_FLOAT16", "DTYPE_FLOAT64"}) {
    ExpectTheSame(
        Spec(std::string("captures { hook: 'blocks.*.hook_out' dtype: ") + dtype +
             " positions { indices { values: [2, 0] } } features { range { start: 1 step: 3 } } }" +
             " captures { hook: 'blocks.*.attn.hook_pattern' dtype: " + dtype +
             " heads { indices { values: 1 } } } outputs { logits { dtype: " + dtype + " } }"),
        TinyModel());
  }
}

TEST(Place, SeveralPasses) {
  ExpectTheSame(Spec("captures { hook: '**' } outputs { logits {} }"), TinyModel(),
                {.max_batch_tokens = 5});
}

TEST(Place, NonFiniteValuesAreCounted) {
  ExpectTheSame(Spec("captures { hook: 'blocks.*.hook_out' } outputs { logits {} } "
                     "allow_non_finite: true interventions { hook: 'blocks.0.hook_out' "
                     "positions { indices { values: 1 } } set { value { scalar: nan } } }"),
                TinyModel());
}

TEST(Place, ATensorOfNoBytesIsGivenToo) {
  // One token has no next one.
  ExpectTheSame(Spec("sequences { token_ids: 3 } sequences { token_ids: 4 token_ids: 5 } "
                     "outputs { log_probs {} }"),
                TinyModel());
}

// Rows of `values`, in parts of at most 4 MiB.
TEST(Place, LargeTensorsComeInParts) {
  const at::Tensor values = at::arange(3 << 20, at::kFloat).view({3 << 10, 1 << 10});  // 12 MiB
  TensorPlan tensor;
  tensor.shape = {3 << 10, 1 << 10};
  tensor.bytes = values.nbytes();
  RunPlan plan;
  plan.n_tensors = 1;
  plan.captures.emplace_back().tensors.push_back(tensor);
  for (const at::Tensor& source : {values, values.t().contiguous().t()}) {
    BufferOutput output(plan);
    hookwire::testing::BareContext context;
    Emitter emitter(plan, output, context);
    emitter.StartPass();
    ASSERT_TRUE(emitter.Emit(tensor, at::kFloat, "hook", source).ok());
    EXPECT_EQ(output.pieces, 3);
    EXPECT_EQ(output.given[0], values.nbytes());
    EXPECT_EQ(std::memcmp(output.memory(0).data(), values.const_data_ptr(), values.nbytes()), 0);
  }
}

}  // namespace
}  // namespace hookwire::server
