// A reader without a network: takes messages when the test says so.
#ifndef HOOKWIRE_TESTS_UNIT_STREAM_FAKE_READER_H_
#define HOOKWIRE_TESTS_UNIT_STREAM_FAKE_READER_H_

#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "hookwire/v1/service.pb.h"
#include "server/stream/message_writer.h"
#include "server/stream/result_stream.h"

namespace hookwire::server {

// Thread-safe. Checks that the stream keeps to MessageWriter's rules.
class FakeReader final : public MessageWriter {
 public:
  void Write(const grpc::ByteBuffer& message) override { Put(message); }

  void WriteAndClose(const grpc::ByteBuffer& message) override {
    Put(message);
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  void Close(const absl::Status& status) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(outstanding_) << "closed while a write is outstanding";
    EXPECT_FALSE(closed_);
    closed_ = true;
    status_ = status;
  }

  void Break(const absl::Status& status) override {
    absl::MutexLock lock(&mutex_);
    broken_ = true;
    broken_status_ = status;
  }

  // Takes the outstanding message, and tells the stream. False where there is none.
  bool Take(ResultStream& stream) {
    std::vector<grpc::Slice> freed;
    {
      absl::MutexLock lock(&mutex_);
      if (!outstanding_) return false;
      outstanding_ = false;
      taken_.push_back(std::move(message_));
      freed.swap(held_);
      if (closed_) return true;
    }
    freed.clear();
    stream.OnWritten(true);
    return true;
  }

  void TakeAll(ResultStream& stream) {
    while (Take(stream)) {
    }
  }

  // As a transport does whose client has gone.
  void Lose(ResultStream& stream) {
    std::vector<grpc::Slice> freed;
    {
      absl::MutexLock lock(&mutex_);
      outstanding_ = false;
      freed.swap(held_);
    }
    freed.clear();
    stream.OnWritten(false);
  }

  bool outstanding() const {
    absl::MutexLock lock(&mutex_);
    return outstanding_;
  }
  bool closed() const {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }
  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  bool broken() const {
    absl::MutexLock lock(&mutex_);
    return broken_;
  }
  absl::Status broken_status() const {
    absl::MutexLock lock(&mutex_);
    return broken_status_;
  }

  // The messages that were taken.
  const std::vector<v1::RunResponse>& taken() const { return taken_; }
  // Their sizes on the wire.
  const std::vector<size_t>& sizes() const { return sizes_; }

  // The tensors' bytes, put together; checks that pieces come in order.
  std::map<uint32_t, std::string> Tensors() const {
    std::map<uint32_t, std::string> tensors;
    for (const v1::RunResponse& message : taken_) {
      for (const v1::TensorChunk& chunk : message.tensors().chunks()) {
        std::string& bytes = tensors[chunk.tensor()];
        EXPECT_EQ(chunk.offset(), bytes.size());
        bytes += chunk.data();
      }
    }
    return tensors;
  }

 private:
  void Put(const grpc::ByteBuffer& message) {
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(outstanding_) << "two writes at a time";
    EXPECT_FALSE(closed_) << "a write after the last call";
    outstanding_ = true;
    sizes_.push_back(message.Length());
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(message.Dump(&slices).ok());
    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    EXPECT_TRUE(message_.ParseFromString(bytes));
    // The transport holds the memory until the reader has taken it.
    held_ = std::move(slices);
  }

  mutable absl::Mutex mutex_;
  bool outstanding_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  absl::Status broken_status_ ABSL_GUARDED_BY(mutex_);
  v1::RunResponse message_ ABSL_GUARDED_BY(mutex_);
  std::vector<grpc::Slice> held_ ABSL_GUARDED_BY(mutex_);
  // Read by the test without the mutex, while nothing is written.
  std::vector<v1::RunResponse> taken_;
  std::vector<size_t> sizes_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_STREAM_FAKE_READER_H_
