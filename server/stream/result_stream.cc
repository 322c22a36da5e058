#include "server/stream/result_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

// The first part of a tensor is added to a message with other tensors only if it has at least so
// many bytes.
constexpr uint64_t kLeastSplitBytes = 64u << 10;

}  // namespace

ResultStream::ResultStream(const Options& options, std::shared_ptr<ByteBudget::Account> account,
                           MessageWriter& writer, const Clock& clock)
    : options_(options),
      account_(std::move(account)),
      writer_(writer),
      clock_(clock),
      progress_at_(clock.Now()) {}

void ResultStream::Open(const v1::RunResponse& accepted) {
  grpc::ByteBuffer message = EncodeMessage(accepted);
  {
    absl::MutexLock lock(&mutex_);
    opened_ = true;
    if (failure_.ok()) accepted_ = std::move(message);
  }
  Pump();
}

absl::Status ResultStream::Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                                absl::FunctionRef<void(bool)> waits, uint32_t count) {
  const auto given_up = [this] { return failed_.load(); };
  const auto wait = [&](auto&& until) {
    SetBlocked(true);
    waits(true);
    until();
    waits(false);
    SetBlocked(false);
  };
  const uint64_t bytes = tensor.nbytes();
  std::optional<ByteBudget::Lease> lease = account_->TryAcquire(bytes);
  if (!lease.has_value() && account_->has_reservation()) {
    return MakeError(absl::StrCat("tensor ", index, " has more bytes than were planned"),
                     {v1::ERROR_REASON_INTERNAL, "", {}});
  }
  if (!lease.has_value()) wait([&] { lease = account_->Acquire(bytes, given_up); });
  if (!lease.has_value()) return status();
  auto held =
      std::make_shared<const HeldTensor>(HeldTensor{*std::move(lease), std::move(tensor), offset});
  absl::Status queued = Queue({index, offset, bytes, std::move(held)}, count);
  if (!queued.ok()) return queued;
  // A tensor larger than the share was accepted because the account held nothing else: the reader
  // takes it before the pass computes more.
  if (account_->IsOverShare()) wait([&] { account_->WaitUntilWithinShare(given_up); });
  return absl::OkStatus();
}

absl::Status ResultStream::EmitShared(uint32_t index, uint64_t offset, uint64_t size,
                                      uint64_t shared_offset, uint32_t count) {
  return Queue({index, offset, size, nullptr, shared_offset}, count);
}

absl::Status ResultStream::Queue(Piece piece, uint32_t count) {
  {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    if (piece.held != nullptr) waiting_bytes_ += piece.size;
    if (piece.offset == 0) tensors_ += count;
    bytes_ += piece.size;
    waiting_.push_back(std::move(piece));
  }
  Pump();
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

void ResultStream::End(v1::Receipt receipt) {
  account_->EndReservation();
  {
    absl::MutexLock lock(&mutex_);
    producer_ended_ = true;
    progress_.reset();
    if (failure_.ok()) receipt_ = std::move(receipt);
  }
  Pump();
}

void ResultStream::Fail(const absl::Status& status) {
  account_->EndReservation();
  {
    std::deque<Piece> unsent;
    absl::MutexLock lock(&mutex_);
    producer_ended_ = true;
    unsent = FailLocked(status);
  }
  Pump();
}

void ResultStream::Cancel(const absl::Status& status) {
  {
    std::deque<Piece> unsent;
    absl::MutexLock lock(&mutex_);
    unsent = FailLocked(status);
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
  // Otherwise the call ends like any failed one, when the run has ended.
  if (outstanding) writer_.Break(status);
}

void ResultStream::OnWritten(bool ok) {
  {
    std::optional<TensorMessage> sent;
    std::deque<Piece> unsent;
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    sent.swap(in_flight_);
    if (!ok) {
      unsent = FailLocked(MakeError("the client has gone", {v1::ERROR_REASON_CANCELLED, "", {}}));
    }
  }
  if (!ok) account_->Wake();
  Pump();
}

absl::Time ResultStream::waiting_since() const {
  absl::MutexLock lock(&mutex_);
  return writing_ ? written_at_ : absl::InfiniteFuture();
}

absl::Status ResultStream::StallError(absl::Duration timeout) const {
  return MakeError(absl::StrCat("the client has read nothing for ", absl::FormatDuration(timeout),
                                ": the run was ended so that others can go on"),
                   {v1::ERROR_REASON_READER_STALLED,
                    "",
                    {{"seconds", absl::StrCat(absl::ToDoubleSeconds(timeout))}}});
}

absl::Status ResultStream::status() const {
  if (!failed_.load()) return absl::OkStatus();
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

std::deque<Piece> ResultStream::FailLocked(const absl::Status& status) {
  // Only the first failure counts, and none after the last call to the writer.
  if (failure_.ok() && !closed_) {
    failure_ = status;
    failed_ = true;
  }
  if (failure_.ok()) return {};
  accepted_.reset();
  waiting_bytes_ = 0;
  progress_.reset();
  receipt_.reset();
  return std::exchange(waiting_, {});
}

void ResultStream::Pump() {
  Step step;
  {
    absl::MutexLock lock(&mutex_);
    step = NextStep();
    if (step.kind == Step::kNothing) return;
    // No other thread calls the writer until OnWritten, and none does after its last call.
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
    // The call is ended only when the run has, which may still emit.
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
    v1::RunResponse event;
    *event.mutable_receipt() = *std::exchange(receipt_, std::nullopt);
    const absl::Duration streamed = std::max(clock_.Now() - begun_, absl::ZeroDuration());
    event.mutable_receipt()->set_stream_us(
        static_cast<uint64_t>(absl::ToInt64Microseconds(streamed)));
    return {Step::kWriteAndClose, EncodeMessage(event), {}};
  }
  return {};
}

bool ResultStream::TensorsAreDue() const {
  if (producer_ended_ || blocked_ || begun_ == absl::InfiniteFuture() ||
      waiting_bytes_ >= options_.eager_bytes) {
    return true;
  }
  const absl::Time now = clock_.Now();
  return now - written_at_ >= std::max(options_.write_interval, (now - begun_) / 16);
}

grpc::ByteBuffer ResultStream::TakeTensors() {
  TensorMessage message(
      std::max<size_t>(options_.max_message_bytes, TensorMessage::kMinMessageBytes));
  while (!waiting_.empty()) {
    Piece& next = waiting_.front();
    const TensorMessage::Room room = message.RoomFor(next);
    if (!room.fits) break;
    if (room.bytes < next.size && !message.empty() && room.bytes < kLeastSplitBytes) break;
    if (next.held != nullptr) waiting_bytes_ -= room.bytes;
    if (room.bytes < next.size) {
      message.Add({next.index, next.offset, room.bytes, next.held});
      next.offset += room.bytes;
      next.size -= room.bytes;
      break;
    }
    message.Add(std::move(next));
    waiting_.pop_front();
  }
  begun_ = std::min(begun_, clock_.Now());
  grpc::ByteBuffer bytes = message.Encode();
  in_flight_ = std::move(message);
  return bytes;
}

}  // namespace hookwire::server
