// hookwire-bare-stream: a gRPC server that only sends bytes, to compare Hookwire's streams with.
//
// The request of a call is three little-endian 64-bit numbers: how many tensors, the bytes of each,
// and the most bytes of a message. The answer is that many tensors, cut into messages like
// Hookwire's (hookwire.v1.RunResponse with one TensorChunk), one write at a time. The tensors'
// bytes are in memory that outlives the call, so that nothing is allocated, computed or copied for
// them.
//
// Prints one line with its address; ends with status 0 on SIGTERM or SIGINT.

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

static_assert(std::endian::native == std::endian::little);

struct Load {
  uint64_t tensors = 0;
  uint64_t tensor_bytes = 0;
  uint64_t message_bytes = 0;
};

// More than the bytes of all tags, lengths and numbers in a message (Header).
constexpr uint64_t kHeaderBytes = 64;
constexpr uint64_t kMaxTensorBytes = uint64_t{4} << 30;

void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// The bytes of a message before its `size` bytes of data.
std::string Header(uint64_t tensor, uint64_t offset, uint64_t size) {
  std::string chunk;  // TensorChunk{tensor = 1, offset = 2, data = 15}
  chunk.push_back(1 << 3);
  AppendVarint(tensor, chunk);
  chunk.push_back(2 << 3);
  AppendVarint(offset, chunk);
  chunk.push_back(15 << 3 | 2);
  AppendVarint(size, chunk);
  std::string chunks(1, 1 << 3 | 2);  // TensorChunks{chunks = 1}
  AppendVarint(chunk.size() + size, chunks);
  chunks += chunk;
  std::string response(1, 2 << 3 | 2);  // RunResponse{tensors = 2}
  AppendVarint(chunks.size() + size, response);
  return response + chunks;
}

// The bytes that are sent. They are never freed, because the transport may still refer to them
// after a call has ended. Thread-safe.
class Memory {
 public:
  // A block of at least `size` bytes.
  const char* Of(uint64_t size) {
    const std::lock_guard lock(mutex_);
    if (blocks_.empty() || blocks_.back().size() < size) blocks_.emplace_back(size, '\1');
    return blocks_.back().data();
  }

 private:
  std::mutex mutex_;
  std::deque<std::vector<char>> blocks_;
};

// One call. Deletes itself when it is done.
class Call final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Call(Memory& memory) : memory_(memory) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok || !Decode()) {
      Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "not a load"));
      return;
    }
    bytes_ = memory_.Of(load_.tensor_bytes);
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }

  void OnDone() override { delete this; }

 private:
  bool Decode() {
    grpc::Slice slice;
    if (!request_.DumpToSingleSlice(&slice).ok() || slice.size() != sizeof(load_)) return false;
    std::memcpy(&load_, slice.begin(), sizeof(load_));
    return load_.tensor_bytes > 0 && load_.tensor_bytes <= kMaxTensorBytes &&
           load_.message_bytes > kHeaderBytes;
  }

  void Next() {
    if (tensor_ == load_.tensors) {
      Finish(grpc::Status::OK);
      return;
    }
    const uint64_t room = load_.message_bytes - kHeaderBytes;
    const uint64_t size = std::min(room, load_.tensor_bytes - offset_);
    const std::array slices = {
        grpc::Slice(Header(tensor_, offset_, size)),
        grpc::Slice(bytes_ + offset_, size, grpc::Slice::STATIC_SLICE),
    };
    message_ = grpc::ByteBuffer(slices.data(), slices.size());
    offset_ += size;
    if (offset_ == load_.tensor_bytes) {
      offset_ = 0;
      ++tensor_;
    }
    StartWrite(&message_);
  }

  Memory& memory_;
  grpc::ByteBuffer request_;
  // gRPC reads it until OnWriteDone.
  grpc::ByteBuffer message_;
  const char* bytes_ = nullptr;
  Load load_;
  uint64_t tensor_ = 0;
  uint64_t offset_ = 0;
};

class Service final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Call(memory_);
  }

 private:
  Memory memory_;
};

}  // namespace

int main() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  // Before gRPC starts threads, so that they inherit the mask.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Service service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fprintf(stderr, "hookwire-bare-stream: cannot listen\n");
    return 2;
  }
  std::printf("hookwire-bare-stream ready at 127.0.0.1:%d\n", port);
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown();
  return 0;
}
