// The common part of Run and Interact calls: the writing side of gRPC's reactor, around a
// ServedRun.
#ifndef HOOKWIRE_SERVER_RPC_RUN_REACTOR_H_
#define HOOKWIRE_SERVER_RPC_RUN_REACTOR_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/guard.h"
#include "server/rpc/handover.h"
#include "server/rpc/served_run.h"
#include "server/rpc/status.h"
#include "server/stream/message_writer.h"

namespace hookwire::server {

// `Reactor` is grpc::ServerWriteReactor or ServerBidiReactor over ByteBuffers. Exists until gRPC
// has called OnDone and the scheduler has dropped the run.
template <typename Reactor>
class RunReactor : public Reactor, private MessageWriter {
 protected:
  // `backend` must outlive the call.
  RunReactor(const Backend& backend, std::string id, grpc::CallbackServerContext& context,
             Caller caller)
      : backend_(backend),
        context_(context),
        call_(std::move(caller.call)),
        run_(backend, std::move(id), std::move(caller.principal),
             absl::FromChrono(context.deadline()), *this) {}

  // Ends a call whose request was refused. gRPC may call OnDone before this returns.
  void Refuse(const absl::Status& status) {
    (void)Guarded([&] {
      run_.LogRefusal(status);
      return absl::OkStatus();
    });
    this->Finish(ToGrpcStatus(status));
  }

  // Reactor
  void OnWriteDone(bool ok) override {
    EndIfThrown([&] {
      message_.Clear();
      run_.OnWritten(ok);
    });
    HandOver(this);
  }
  void OnCancel() override {
    EndIfThrown([&] { run_.Cancel(ClientGone()); });
    HandOver(this);
  }
  // After every other callback has returned.
  void OnDone() override {
    TakeOver(this);
    // Often the last reference: this function may destroy the call.
    const std::shared_ptr<RunReactor> self = std::move(self_);
    run_.Detach();
  }

  // Calls `body`; if it throws, ends the run.
  template <typename Body>
  void EndIfThrown(Body&& body) {
    const absl::Status status = Guarded([&] {
      body();
      return absl::OkStatus();
    });
    if (status.ok()) return;
    (void)Guarded([&] {
      run_.Cancel(status);
      return absl::OkStatus();
    });
  }

  const Backend& backend_;

  // Destroyed after OnDone, which may come before the scheduler has dropped the run.
  grpc::CallbackServerContext& context_;
  const CallLimit::Call call_;
  ServedRun run_;
  // Keeps the call until OnDone.
  std::shared_ptr<RunReactor> self_;

 private:
  // MessageWriter
  void Write(const grpc::ByteBuffer& message) override {
    message_ = message;
    this->StartWrite(&message_);
  }
  void WriteAndClose(const grpc::ByteBuffer& message) override {
    message_ = message;
    this->StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void Close(const absl::Status& status) override { this->Finish(ToGrpcStatus(status)); }
  void Break(const absl::Status& status) override { BreakOff(context_.c_call(), status); }

  // The message that gRPC is writing.
  grpc::ByteBuffer message_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_REACTOR_H_
