// Limits how many requests gRPC reads at the same time, and so the memory in which it puts
// messages before a call sees them.
#ifndef HOOKWIRE_SERVER_RPC_REQUEST_READS_H_
#define HOOKWIRE_SERVER_RPC_REQUEST_READS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// The largest request message. Larger ones are refused with RESOURCE_EXHAUSTED before they are
// read.
inline constexpr uint64_t kMaxRequestBytes = 4u << 20;
// What a client may send of a message that the server has not begun to read: HTTP/2's window of
// a stream.
inline constexpr uint64_t kUnreadBytes = 64u << 10;

// The most that a message with uploads or answers may take when it is parsed, which each of gRPC's
// threads does with one message at a time.
inline constexpr uint64_t kMaxDecodedBytes = kMaxRequestBytes + (1u << 20);

// How much of the memory for requests (`request_memory` bytes) is set aside for messages that are
// being read, as a number of messages of kMaxRequestBytes: an eighth, at least 1 and at most 32
// messages.
size_t ReadsFor(uint64_t request_memory);
// What is left for all else; half, if it has not room for one message and as much again.
uint64_t WithoutReads(uint64_t request_memory);

// A call that waits until its request may be read has a place in a queue. As in RequestMemory, one
// client may have half of the reads that the others leave, so that a client which stops in the
// middle of its requests keeps only itself waiting.
//
// Thread-safe.
class RequestReads {
 public:
  class Reader {
   public:
    virtual ~Reader() = default;
    // The request may be read now. Called once, on any thread, without a mutex. What it begins must
    // end with GiveBack.
    virtual void TurnCame() = 0;
  };

  explicit RequestReads(size_t max_reads) : max_reads_(max_reads) {}

  // Calls TurnCame when the client with this key (Principal::key) may read, perhaps before this
  // returns.
  void Ask(const std::string& client, std::shared_ptr<Reader> reader);
  // A read of the client has ended.
  void GiveBack(const std::string& client);
  // The reader no longer waits for its turn, which may have come already.
  void Leave(const std::string& client, const Reader* reader);

 private:
  struct Client {
    size_t reading = 0;
    std::deque<std::shared_ptr<Reader>> waiting;
  };
  using Clients = std::map<std::string, Client>;

  // The readers whose turn has come, by now counted as reading.
  std::vector<std::shared_ptr<Reader>> Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayRead(const Client& client) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_reads_;
  absl::Mutex mutex_;
  size_t reading_ ABSL_GUARDED_BY(mutex_) = 0;
  // Clients that read or wait.
  Clients clients_ ABSL_GUARDED_BY(mutex_);
  // The client that began to read last.
  std::string last_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_REQUEST_READS_H_
