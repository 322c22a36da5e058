// Sends the events of one run to its reader: makes messages of tensors, and makes the run wait for
// a slow reader.
//
// Life: Open (the run is accepted), then Emit and Progress from the thread that runs the pass, then
// one End or Fail, after which the stream drains by itself. Emit may come before Open; nothing is
// sent until then. Cancel and Abandon may come at any time from anywhere.
#ifndef HOOKWIRE_SERVER_STREAM_RESULT_STREAM_H_
#define HOOKWIRE_SERVER_STREAM_RESULT_STREAM_H_

#include <ATen/core/Tensor.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "hookwire/v1/service.pb.h"
#include "server/observe/clock.h"
#include "server/stream/byte_budget.h"
#include "server/stream/encoding.h"
#include "server/stream/message_writer.h"
#include "server/stream/watched_call.h"

namespace hookwire::server {

// Thread-safe; Emit, Progress, End and Fail come from one thread at a time.
class ResultStream final : public WatchedCall {
 public:
  struct Options {
    // The largest message with tensors.
    uint32_t max_message_bytes = 2u << 20;
    // Small tensors that are emitted within this time of the last message wait for the next call,
    // so that many of them share a message; within a sixteenth of the time since the first message,
    // where that is longer. The first tensor is sent at once, and so are the waiting ones when they
    // have `eager_bytes` that go into a message.
    absl::Duration write_interval = absl::Milliseconds(1);
    uint64_t eager_bytes = 256u << 10;
    // Progress is sent at most once in this time, and first when the stream has existed for so
    // long.
    absl::Duration progress_interval = absl::Milliseconds(50);
  };

  // `writer` and `clock` must outlive the stream.
  ResultStream(const Options& options, std::shared_ptr<ByteBudget::Account> account,
               MessageWriter& writer, const Clock& clock);

  // Room for the whole result, as in ByteBudget::Account.
  bool MayReserve() const { return account_->MayReserve(); }
  bool Reserve(bool claim) { return account_->Reserve(claim); }

  // Sends the first event, which has `accepted`.
  void Open(const v1::RunResponse& accepted);

  // RunOutput::Emit. Without a reservation it blocks while the budget has no room, and after a
  // tensor that is larger than the stream's share until the reader has taken it; `waits(true)` is
  // called before that, and `waits(false)` after it. Fails as soon as the stream has failed.
  // With `count` > 1, of that many whole tensors: RunOutput::EmitTogether.
  absl::Status Emit(
      uint32_t index, uint64_t offset, at::Tensor tensor,
      absl::FunctionRef<void(bool)> waits = [](bool) {}, uint32_t count = 1);
  // The same for bytes that are in the client's shared memory, from its byte `shared_offset` on.
  // Never blocks.
  absl::Status EmitShared(uint32_t index, uint64_t offset, uint64_t size, uint64_t shared_offset,
                          uint32_t count = 1);
  // RunOutput::Progress.
  absl::Status Progress(int layers_done);

  // While the run waits for its client (`blocked`), waiting tensors are sent without delay.
  void SetBlocked(bool blocked);

  // Everything has been emitted: sends the receipt after the last tensor, with the time that
  // sending took.
  void End(v1::Receipt receipt);
  // The run has failed: drops the tensors that wait, and ends the call with `status`, or with the
  // stream's own failure if it has one.
  void Fail(const absl::Status& status);

  // The reader is gone, or does not want the rest: what waits is dropped, and the run ends before
  // the next step of its pass.
  void Cancel(const absl::Status& status);
  // Cancel, and break the call off where the reader has not taken the message that is being
  // written.
  void Abandon(const absl::Status& status) override;

  // The writer's last message has been sent (or, if not `ok`, never will be).
  void OnWritten(bool ok);

  // Since when a message waits to be read; InfiniteFuture while none does.
  absl::Time waiting_since() const override;
  // READER_STALLED.
  absl::Status StallError(absl::Duration timeout) const override;
  // The stream's failure, if it has one. Costs next to nothing while it has none.
  absl::Status status() const;
  // Tensors and payload bytes that were emitted.
  uint64_t tensors() const;
  uint64_t bytes() const;

 private:
  // What to do with the writer, decided under the mutex and done outside it.
  struct Step {
    enum Kind { kNothing, kWrite, kWriteAndClose, kClose } kind = kNothing;
    grpc::ByteBuffer message;
    absl::Status status;
  };

  // `count` as in Emit.
  absl::Status Queue(Piece piece, uint32_t count);
  // Gives the writer the next message, if it is not writing and a message is due.
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  Step NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TensorsAreDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::ByteBuffer TakeTensors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns the tensors that will not be sent, for the caller to destroy once it has released the
  // mutex: giving their bytes back to the budget calls the scheduler.
  [[nodiscard]] std::deque<Piece> FailLocked(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::shared_ptr<ByteBudget::Account> account_;
  MessageWriter& writer_;
  const Clock& clock_;

  // Set with failure_; read without the mutex by a blocked Emit.
  std::atomic<bool> failed_ = false;

  mutable absl::Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  // The run waits: waiting tensors are sent without delay.
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  bool producer_ended_ ABSL_GUARDED_BY(mutex_) = false;
  // The writer has a message, or has been told to close the call.
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time written_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();

  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  // When the first message with tensors was sent; InfiniteFuture before that.
  absl::Time begun_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::optional<grpc::ByteBuffer> accepted_ ABSL_GUARDED_BY(mutex_);
  std::deque<Piece> waiting_ ABSL_GUARDED_BY(mutex_);
  // Of these, that go into messages.
  uint64_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The tensors whose bytes were copied into the message that is being sent: kept until it has been
  // sent, so that the budget counts them.
  std::optional<TensorMessage> in_flight_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint32_t> progress_ ABSL_GUARDED_BY(mutex_);
  absl::Time progress_at_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::Receipt> receipt_ ABSL_GUARDED_BY(mutex_);

  uint64_t tensors_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_STREAM_RESULT_STREAM_H_
