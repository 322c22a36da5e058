#include "server/rpc/answers.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

// How often a waiting pass asks `keep_waiting`.
constexpr absl::Duration kAskEvery = absl::Milliseconds(50);

absl::Status Unexpected(uint32_t index, const std::string& what) {
  return MakeError(absl::StrCat("tensor ", index, " ", what),
                   {v1::ERROR_REASON_UNEXPECTED_MESSAGE, "", {{"tensor", absl::StrCat(index)}}});
}

}  // namespace

Answers::Answers(std::shared_ptr<const RunPlan> plan) : plan_(std::move(plan)) {
  for (const OpPlan& op : plan_->ops) {
    if (op.read_only) continue;
    for (const TensorPlan& tensor : op.tensors) {
      Answer& answer = answers_[tensor.index];
      answer.op = &op;
      answer.tensor = &tensor;
    }
  }
}

void Answers::Show(uint32_t index) {
  absl::MutexLock lock(&mutex_);
  const auto found = answers_.find(index);
  if (found != answers_.end()) found->second.state = State::kShown;
}

absl::StatusOr<Answers::Answer*> Answers::Expected(uint32_t index) {
  const auto found = answers_.find(index);
  if (found == answers_.end()) return Unexpected(index, "is no tensor of a callback that waits");
  switch (found->second.state) {
    case State::kHidden:
      return Unexpected(index, "has not been sent yet: there is nothing to answer");
    case State::kAnswered:
      return Unexpected(index, "has been answered already");
    case State::kShown:
      break;
  }
  return &found->second;
}

absl::Status Answers::Take(const v1::TensorChunks& pieces) {
  absl::MutexLock lock(&mutex_);
  for (const v1::TensorChunk& piece : pieces.chunks()) {
    HOOKWIRE_ASSIGN_OR_RETURN(Answer* const answer, Expected(piece.tensor()));
    const uint64_t size = piece.data().size();
    if (piece.offset() != answer->received || size > answer->tensor->bytes - answer->received) {
      return Unexpected(piece.tensor(),
                        absl::StrCat("has ", answer->tensor->bytes, " bytes, of which ",
                                     answer->received, " have come: bytes ", piece.offset(), " to ",
                                     piece.offset() + size, " do not follow"));
    }
    if (!answer->value.defined()) {
      answer->value = at::empty(answer->tensor->shape, answer->op->dtype);
    }
    if (size != 0) {
      std::memcpy(static_cast<char*>(answer->value.mutable_data_ptr()) + answer->received,
                  piece.data().data(), size);
    }
    answer->received += size;
    if (answer->received == answer->tensor->bytes) answer->state = State::kAnswered;
  }
  return absl::OkStatus();
}

absl::Status Answers::Take(const v1::Keep& keep) {
  absl::MutexLock lock(&mutex_);
  for (const uint32_t index : keep.tensors()) {
    HOOKWIRE_ASSIGN_OR_RETURN(Answer* const answer, Expected(index));
    if (answer->received != 0) return Unexpected(index, "has been answered in part");
    answer->state = State::kAnswered;
  }
  return absl::OkStatus();
}

void Answers::Close(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (closed_.ok()) closed_ = status;
}

bool Answers::IsWhole(const OpPlan& op) const {
  const auto is_answered = [this](const TensorPlan& tensor) ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return answers_.at(tensor.index).state == State::kAnswered;
  };
  return std::all_of(op.tensors.begin(), op.tensors.end(), is_answered);
}

absl::StatusOr<std::vector<at::Tensor>> Answers::Await(
    const OpPlan& op, absl::FunctionRef<absl::Status()> keep_waiting) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return !closed_.ok() || IsWhole(op);
  };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&ready), kAskEvery)) {
    // Without the mutex: `keep_waiting` takes the scheduler's and the stream's.
    mutex_.Unlock();
    const absl::Status status = keep_waiting();
    mutex_.Lock();
    HOOKWIRE_RETURN_IF_ERROR(status);
  }
  if (!IsWhole(op)) return closed_;
  std::vector<at::Tensor> values;
  for (const TensorPlan& tensor : op.tensors) {
    values.push_back(std::exchange(answers_.at(tensor.index).value, at::Tensor()));
  }
  return values;
}

}  // namespace hookwire::server
