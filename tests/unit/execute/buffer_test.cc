// Tensors that are written into the output's own buffers are those that it would get otherwise.
#include <ATen/ops/arange.h>

#include <algorithm>
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

// Memory for the tensors of a plan, laid out as the client's shared memory is, and what has been
// given.
class BufferOutput final : public hookwire::testing::BareOutput {
 public:
  // Without `offers_buffers`, tensors come in memory of their own, and are copied here.
  explicit BufferOutput(const RunPlan& plan, bool offers_buffers = true)
      : offers_buffers_(offers_buffers) {
    for (const CapturePlan& capture : plan.captures) Add(capture.tensors);
    for (const OutputPlan& output : plan.outputs) Add(output.tensors);
    // So that a buffer is not null where no tensor has bytes.
    memory_.resize(end_ + 1);
  }

  uint8_t* Buffer(uint32_t index, uint64_t offset, uint64_t bytes) override {
    if (!offers_buffers_) return nullptr;
    EXPECT_LE(starts_.at(index) + offset + bytes, end_);
    return &memory_[starts_.at(index) + offset];
  }

  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> /*waits*/) override {
    EXPECT_EQ(offset, given[index]) << "tensor " << index << " does not go on where it was";
    Take(index, offset, tensor);
    given[index] += tensor.nbytes();
    ++pieces;
    return absl::OkStatus();
  }
  absl::Status EmitTogether(uint32_t first, uint32_t count, at::Tensor tensors,
                            absl::FunctionRef<void(bool)> /*waits*/) override {
    uint64_t bytes = 0;
    for (uint32_t index = first; index < first + count; ++index) {
      EXPECT_EQ(given[index], 0) << "tensor " << index << " comes again";
      EXPECT_EQ(starts_.at(index), starts_.at(first) + bytes) << "a gap before " << index;
      bytes += given[index] = sizes_.at(index);
    }
    EXPECT_EQ(tensors.nbytes(), bytes);
    EXPECT_GT(count, 1);
    Take(first, 0, tensors);
    ++joined;
    return absl::OkStatus();
  }
  absl::Status Progress(int) override { return absl::OkStatus(); }

  std::vector<uint8_t> memory(uint32_t index) const {
    const auto from = memory_.begin() + static_cast<int64_t>(starts_.at(index));
    return {from, from + static_cast<int64_t>(sizes_.at(index))};
  }

  // Bytes by tensor.
  std::map<uint32_t, uint64_t> given;
  int pieces = 0;
  // Calls of EmitTogether.
  int joined = 0;

 private:
  void Add(const std::vector<TensorPlan>& tensors) {
    for (const TensorPlan& tensor : tensors) {
      starts_[tensor.index] = end_;
      sizes_[tensor.index] = tensor.bytes;
      end_ += (tensor.bytes + kJoinedAlignment - 1) / kJoinedAlignment * kJoinedAlignment;
    }
  }

  void Take(uint32_t index, uint64_t offset, const at::Tensor& tensor) {
    if (tensor.nbytes() == 0) return;
    uint8_t* const place = &memory_[starts_.at(index) + offset];
    if (offers_buffers_) {
      EXPECT_EQ(tensor.const_data_ptr(), place);
    } else {
      EXPECT_TRUE(tensor.is_contiguous());
      EXPECT_EQ(tensor.storage().nbytes(), tensor.nbytes()) << "tensor " << index << " is a view";
      std::memcpy(place, tensor.const_data_ptr(), tensor.nbytes());
    }
  }

  const bool offers_buffers_;
  std::map<uint32_t, uint64_t> starts_;
  std::map<uint32_t, uint64_t> sizes_;
  uint64_t end_ = 0;
  std::vector<uint8_t> memory_;
};

// Runs a plan and compares what it gives with `expected`. Returns how often tensors came together.
int ExpectTheSame(const Finished& expected, const RunPlan& plan, bool offers_buffers,
                  const model::TextModel& model, const Executor::Options& options) {
  BufferOutput output(plan, offers_buffers);
  const auto report = Executor(model, options).Execute(plan, output);
  EXPECT_TRUE(report.ok()) << report.status();
  if (!report.ok()) return 0;
  EXPECT_EQ(report->tensors, expected.report.tensors);
  EXPECT_EQ(report->bytes, expected.report.bytes);
  EXPECT_EQ(report->non_finite.size(), expected.report.non_finite.size());
  for (size_t i = 0; i < std::min(report->non_finite.size(), expected.report.non_finite.size());
       ++i) {
    const NonFiniteCount& found = report->non_finite[i];
    const NonFiniteCount& wanted = expected.report.non_finite[i];
    EXPECT_EQ(found.hook, wanted.hook);
    EXPECT_EQ(found.sequence, wanted.sequence);
    EXPECT_EQ(found.nan, wanted.nan);
    EXPECT_EQ(found.inf, wanted.inf);
  }
  EXPECT_EQ(output.given.size(), expected.output.tensors.size());
  for (const auto& [index, tensor] : expected.output.tensors) {
    EXPECT_EQ(output.given[index], tensor.nbytes());
    const auto* const bytes = static_cast<const uint8_t*>(tensor.const_data_ptr());
    EXPECT_EQ(output.memory(index), std::vector<uint8_t>(bytes, bytes + tensor.nbytes()))
        << "tensor " << index;
  }
  return output.joined;
}

// In the output's buffers or outside, one by one or several together: the bytes are those of a run
// with neither. Returns how often tensors came together where they may.
int ExpectTheSame(v1::RunSpec spec, const model::TextModel& model,
                  const Executor::Options& options = {}) {
  const Finished expected = RunToEnd(spec, model, options);
  EXPECT_EQ(ExpectTheSame(expected, *MustPlan(spec, model), true, model, options), 0);
  spec.set_join_tensors(true);
  const auto plan = MustPlan(spec, model);
  const int joined = ExpectTheSame(expected, *plan, true, model, options);
  EXPECT_EQ(ExpectTheSame(expected, *plan, false, model, options), joined);
  return joined;
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

constexpr char kFourSequences[] =
    "sequences { token_ids: [3, 4, 5] } sequences { token_ids: [6, 7] } "
    "sequences { token_ids: [8] } sequences { token_ids: [9, 10, 11, 12] } ";

TEST(Join, SequencesOfAHookPointComeTogether) {
  for (const TinyVariant variant :
       {TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe, TinyVariant::kUnified}) {
    const auto& model = TinyModel(variant);
    const auto join = [&](const std::string& captures) {
      return ExpectTheSame(Spec(kFourSequences + captures), model);
    };
    EXPECT_EQ(join("captures { hook: 'blocks.1.hook_out' }"), 1);
    EXPECT_EQ(join("captures { hook: 'blocks.1.hook_out' dtype: DTYPE_FLOAT64 }"), 1);
    EXPECT_EQ(join("captures { hook: 'blocks.*.hook_out' }"), model.config().n_layers());
    // Parts of rows do not follow each other, and neither do attention patterns.
    EXPECT_EQ(join("captures { hook: 'blocks.1.hook_out' features { range { stop: 8 } } }"), 0);
    EXPECT_EQ(join("captures { hook: 'blocks.1.attn.hook_pattern' }"), 0);
    EXPECT_GT(join("captures { hook: '**' } outputs { logits {} log_probs {} }"), 20);
  }
}

TEST(Join, OnlySequencesOfOnePass) {
  // Of 3 + 2, of 1 + 4 tokens.
  EXPECT_EQ(
      ExpectTheSame(Spec(std::string(kFourSequences) + "captures { hook: 'blocks.1.hook_out' }"),
                    TinyModel(), {.max_batch_tokens = 5}),
      2);
}

TEST(Join, NonFiniteValuesAreCountedBySequence) {
  ExpectTheSame(Spec(std::string(kFourSequences) +
                     "captures { hook: 'blocks.*.hook_out' } allow_non_finite: true "
                     "interventions { hook: 'blocks.0.hook_out' sequences: [1, 3] "
                     "positions { indices { values: 1 } } set { value { scalar: nan } } }"),
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
    const std::vector<uint8_t> memory = output.memory(0);
    EXPECT_EQ(std::memcmp(memory.data(), values.const_data_ptr(), values.nbytes()), 0);
  }
}

}  // namespace
}  // namespace hookwire::server
