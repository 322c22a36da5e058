#include "server/rpc/answers.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

using ::testing::HasSubstr;

// A callback with two tensors of three float32 each, numbered 4 and 5.
class AnswersTest : public testing::Test {
 protected:
  AnswersTest() {
    OpPlan op;
    op.kind = OpKind::kCallback;
    op.dtype = at::kFloat;
    for (const uint32_t index : {4u, 5u}) {
      TensorPlan tensor;
      tensor.index = index;
      tensor.shape = {3};
      tensor.bytes = 12;
      op.tensors.push_back(tensor);
    }
    auto plan = std::make_shared<RunPlan>();
    plan->ops.push_back(op);
    plan_ = plan;
    answers_ = std::make_unique<Answers>(plan_);
  }

  static v1::TensorChunks Piece(uint32_t index, uint64_t offset, const std::string& data) {
    v1::TensorChunks pieces;
    v1::TensorChunk& piece = *pieces.add_chunks();
    piece.set_tensor(index);
    piece.set_offset(offset);
    piece.set_data(data);
    return pieces;
  }
  static v1::Keep Keeping(uint32_t index) {
    v1::Keep keep;
    keep.add_tensors(index);
    return keep;
  }
  static std::string Bytes(const at::Tensor& tensor) {
    return std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  absl::StatusOr<std::vector<at::Tensor>> Await() {
    return answers_->Await(plan_->ops[0], [] { return absl::OkStatus(); });
  }
  static void ExpectUnexpected(const absl::Status& status, const std::string& message) {
    EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_UNEXPECTED_MESSAGE) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  std::shared_ptr<const RunPlan> plan_;
  std::unique_ptr<Answers> answers_;
};

TEST_F(AnswersTest, PiecesBecomeTensorsAndKeptOnesStayUndefined) {
  const at::Tensor sent = at::randn({3});
  answers_->Show(4);
  answers_->Show(5);
  std::thread client([&] {
    EXPECT_TRUE(answers_->Take(Piece(5, 0, Bytes(sent).substr(0, 5))).ok());
    EXPECT_TRUE(answers_->Take(Keeping(4)).ok());
    EXPECT_TRUE(answers_->Take(Piece(5, 5, Bytes(sent).substr(5))).ok());
  });
  const auto answers = Await();
  client.join();
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_FALSE((*answers)[0].defined());
  EXPECT_TRUE(at::equal((*answers)[1], sent));
}

TEST_F(AnswersTest, WhatNobodyWaitsForIsAnError) {
  ExpectUnexpected(answers_->Take(Keeping(4)), "has not been sent yet");
  ExpectUnexpected(answers_->Take(Keeping(7)), "is no tensor of a callback");
  answers_->Show(4);
  EXPECT_TRUE(answers_->Take(Keeping(4)).ok());
  ExpectUnexpected(answers_->Take(Keeping(4)), "answered already");
}

TEST_F(AnswersTest, PiecesMustFollowEachOtherAndFit) {
  answers_->Show(4);
  ExpectUnexpected(answers_->Take(Piece(4, 4, "abcd")), "do not follow");
  ExpectUnexpected(answers_->Take(Piece(4, 0, std::string(13, 'x'))), "do not follow");
  EXPECT_TRUE(answers_->Take(Piece(4, 0, "abcd")).ok());
  ExpectUnexpected(answers_->Take(Piece(4, 0, "abcd")), "do not follow");
  ExpectUnexpected(answers_->Take(Keeping(4)), "answered in part");
  ExpectUnexpected(answers_->Take(Piece(4, ~uint64_t{0} - 1, "abcd")), "do not follow");
}

TEST_F(AnswersTest, AWaitEndsWhereNoMoreWillCome) {
  answers_->Show(4);
  EXPECT_TRUE(answers_->Take(Keeping(4)).ok());
  answers_->Close(absl::CancelledError("gone"));
  EXPECT_TRUE(absl::IsCancelled(Await().status()));
}

TEST_F(AnswersTest, WhatIsWholeIsThereEvenIfNoMoreWillCome) {
  for (const uint32_t index : {4u, 5u}) {
    answers_->Show(index);
    EXPECT_TRUE(answers_->Take(Keeping(index)).ok());
  }
  answers_->Close(absl::CancelledError("gone"));
  EXPECT_TRUE(Await().ok());
}

TEST_F(AnswersTest, AWaitEndsWhenItIsToldTo) {
  int asked = 0;
  const auto status = answers_->Await(plan_->ops[0], [&] {
    return ++asked < 3 ? absl::OkStatus() : absl::DeadlineExceededError("enough");
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(status.status()));
}

}  // namespace
}  // namespace hookwire::server
