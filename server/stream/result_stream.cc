#include "server/stream/result_stream.h"

#include <algorithm>
#include <utility>

#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

// A message that has something in it already does not take the head of the next tensor for less
// than this.
constexpr uint64_t kLeastSplitBytes = 64u << 10;

}  // namespace

ResultStream::ResultStream(const Options& options, std::shared_ptr<ByteBudget::Account> account,
                           MessageWriter& writer, const Clock& clock)
    : options_(options),
      account_(std::move(account)),
      writer_(writer),
      clock_(clock),
      progress_at_(clock.Now()) {}

void ResultStream::Open(const v1::Accepted& accepted) {
  v1::RunResponse event;
  *event.mutable_accepted() = accepted;
  grpc::ByteBuffer message = EncodeMessage(event);
  {
    absl::MutexLock lock(&mutex_);
    opened_ = true;
    if (failure_.ok()) accepted_ = std::move(message);
  }
  Pump();
}

absl::Status ResultStream::Emit(uint32_t index, uint64_t offset, at::Tensor tensor) {
  const auto given_up = [this] { return failed_.load(); };
  const uint64_t bytes = tensor.nbytes();
  std::optional<ByteBudget::Lease> lease = account_->TryAcquire(bytes);
  if (!lease.has_value()) {
    SetBlocked(true);
    lease = account_->Acquire(bytes, given_up);
    SetBlocked(false);
  }
  {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    auto held = std::make_shared<const HeldTensor>(
        HeldTensor{*std::move(lease), std::move(tensor), offset});
    waiting_.push_back({index, offset, std::move(held)});
    waiting_bytes_ += bytes;
    if (offset == 0) ++tensors_;
    bytes_ += bytes;
  }
  Pump();
  // What was let through because it was alone leaves before the pass makes more.
  if (bytes > account_->share()) {
    SetBlocked(true);
    account_->WaitUntilWithinShare(given_up);
    SetBlocked(false);
  }
  return absl::OkStatus();
}

void ResultStream::SetBlocked(bool blocked) {
  {
    absl::MutexLock lock(&mutex_);
    blocked_ = blocked;
  }
  if (blocked) Pump();
}

absl::Status ResultStream::Progress(int layers_done) {
  {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    const absl::Time now = clock_.Now();
    if (now - progress_at_ >= options_.progress_interval) {
      progress_ = static_cast<uint32_t>(layers_done);
      progress_at_ = now;
    }
  }
  Pump();
  return absl::OkStatus();
}

void ResultStream::End(const v1::Receipt& receipt) {
  v1::RunResponse event;
  *event.mutable_receipt() = receipt;
  grpc::ByteBuffer message = EncodeMessage(event);
  {
    absl::MutexLock lock(&mutex_);
    producer_ended_ = true;
    progress_.reset();
    if (failure_.ok()) receipt_ = std::move(message);
  }
  Pump();
}

void ResultStream::Fail(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    producer_ended_ = true;
    FailLocked(status);
  }
  Pump();
}

void ResultStream::Cancel(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    FailLocked(status);
  }
  account_->Wake();
  Pump();
}

void ResultStream::Abandon(const absl::Status& status) {
  Cancel(status);
  bool outstanding = false;
  {
    absl::MutexLock lock(&mutex_);
    outstanding = writing_;
  }
  // Otherwise the call ends as any other failed one, as soon as the producer has ended.
  if (outstanding) writer_.Break(status);
}

void ResultStream::OnWritten(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    in_flight_.reset();
    if (!ok) {
      FailLocked(MakeError("the client has gone", {v1::ERROR_REASON_CANCELLED, "", {}}));
    }
  }
  if (!ok) account_->Wake();
  Pump();
}

absl::Time ResultStream::waiting_since() const {
  absl::MutexLock lock(&mutex_);
  return writing_ ? written_at_ : absl::InfiniteFuture();
}

absl::Status ResultStream::status() const {
  absl::MutexLock lock(&mutex_);
  return failure_;
}

uint64_t ResultStream::tensors() const {
  absl::MutexLock lock(&mutex_);
  return tensors_;
}

uint64_t ResultStream::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

void ResultStream::FailLocked(const absl::Status& status) {
  // The first failure is the one that counts. After the last call to the writer nothing can fail
  // any more.
  if (failure_.ok() && !closed_) {
    failure_ = status;
    failed_ = true;
  }
  if (failure_.ok()) return;
  accepted_.reset();
  waiting_.clear();
  waiting_bytes_ = 0;
  progress_.reset();
  receipt_.reset();
}

void ResultStream::Pump() {
  Step step;
  {
    absl::MutexLock lock(&mutex_);
    step = NextStep();
    if (step.kind == Step::kNothing) return;
    // Nobody else touches the writer until OnWritten; after a last call, nobody does.
    writing_ = true;
    closed_ = step.kind != Step::kWrite;
    written_at_ = clock_.Now();
  }
  switch (step.kind) {
    case Step::kNothing:
      break;
    case Step::kWrite:
      writer_.Write(step.message);
      break;
    case Step::kWriteAndClose:
      writer_.WriteAndClose(step.message);
      break;
    case Step::kClose:
      writer_.Close(step.status);
      break;
  }
}

ResultStream::Step ResultStream::NextStep() {
  if (writing_) return {};
  if (!failure_.ok()) {
    // Until the producer has ended it may still call.
    if (!producer_ended_) return {};
    return {Step::kClose, {}, failure_};
  }
  if (!opened_) return {};
  if (accepted_.has_value()) {
    return {Step::kWrite, *std::exchange(accepted_, std::nullopt), {}};
  }
  if (progress_.has_value()) {
    v1::RunResponse event;
    event.mutable_progress()->set_layers_done(*std::exchange(progress_, std::nullopt));
    return {Step::kWrite, EncodeMessage(event), {}};
  }
  if (!waiting_.empty()) {
    if (!TensorsAreDue()) return {};
    return {Step::kWrite, TakeTensors(), {}};
  }
  if (receipt_.has_value()) {
    return {Step::kWriteAndClose, *std::exchange(receipt_, std::nullopt), {}};
  }
  return {};
}

bool ResultStream::TensorsAreDue() const {
  return producer_ended_ || blocked_ || !begun_ || waiting_bytes_ >= options_.eager_bytes ||
         clock_.Now() - written_at_ >= options_.write_interval;
}

grpc::ByteBuffer ResultStream::TakeTensors() {
  TensorMessage message(
      std::max<size_t>(options_.max_message_bytes, TensorMessage::kMinMessageBytes));
  while (!waiting_.empty()) {
    Waiting& next = waiting_.front();
    const uint64_t left = next.held->end() - next.offset;
    const TensorMessage::Room room = message.RoomFor(next.index, next.offset, left);
    if (!room.fits) break;
    if (room.bytes < left && !message.empty() && room.bytes < kLeastSplitBytes) break;
    waiting_bytes_ -= room.bytes;
    if (room.bytes < left) {
      message.Add({next.index, next.offset, room.bytes, next.held});
      next.offset += room.bytes;
      break;
    }
    message.Add({next.index, next.offset, left, std::move(next.held)});
    waiting_.pop_front();
  }
  begun_ = true;
  grpc::ByteBuffer bytes = message.Encode();
  in_flight_ = std::move(message);
  return bytes;
}

}  // namespace hookwire::server
