// Sends results to clients on this host through memory that they also map, in place of messages.
//
// A client connects to a Unix socket. If it is the daemon's user or root, it receives a token and
// the descriptor of a segment of its own. It names the token in its runs. A run whose result fits,
// while no other run uses the segment, writes its tensors there, and its messages only say where.
// When the client has read them all, it sends one byte, and the next run may use the segment. All
// other results go in messages.
//
// The memory of a segment is kept for the next run, because new memory costs some microseconds a
// page. It is returned to the system when the client disconnects, when it has not been used for a
// while, and when another client's run needs it.
#ifndef HOOKWIRE_SERVER_LOCAL_SHARED_MEMORY_H_
#define HOOKWIRE_SERVER_LOCAL_SHARED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "os/descriptor.h"
#include "os/system.h"
#include "server/local/segment.h"
#include "server/local/unix_server.h"
#include "server/observe/clock.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class SharedResult;

// Thread-safe. Has two threads: one waits for clients, the other for their messages.
class SharedMemory {
 public:
  struct Options {
    // The most memory of all segments together.
    uint64_t max_bytes = uint64_t{1} << 30;
    // Smaller results are sent in messages, which takes no longer.
    uint64_t min_result_bytes = 256u << 10;
    size_t max_clients = 256;
    // Memory that no run has used for so long is returned to the system.
    absl::Duration idle_time = absl::Seconds(10);
  };

  // `clock` and `system` must outlive the object. The error says what the system does not support.
  static absl::StatusOr<std::unique_ptr<SharedMemory>> Create(
      const Options& options, const Clock& clock, os::System& system = os::RealSystem());
  // REQUIRES: no SharedResult is left.
  ~SharedMemory();

  // The name of its socket, of type SOCK_SEQPACKET, in the abstract namespace.
  const std::string& socket() const { return socket_; }

  // The segment of the client with this token, for the tensors of one run. Null if they must go in
  // messages: no client has the token, it has not read the result before, the result is small or
  // does not fit, or the plan has callbacks.
  std::unique_ptr<SharedResult> Lend(std::string_view token, const RunPlan& plan);

  // Bytes of memory that all segments have.
  uint64_t held() const;
  size_t clients() const;

  // Gives back memory that has been idle for too long at `now`; returns when to look again. Called
  // by the watching thread.
  absl::Time FreeIdle(absl::Time now);

 private:
  friend class SharedResult;

  // A connected client.
  struct Client {
    enum State {
      // No run uses the segment, and the client has read the last result.
      kFree,
      kWriting,
      // The run has ended; the client has not read all of the result.
      kReading,
    };

    Descriptor connection;
    std::string token;
    std::unique_ptr<Segment> segment;
    State state = kFree;
    absl::Time free_since;
    // Its part of `max_bytes`.
    uint64_t held = 0;
    bool gone = false;
  };

  SharedMemory(const Options& options, const Clock& clock, os::System& system, Descriptor wake)
      : options_(options), clock_(clock), system_(system), wake_(std::move(wake)) {}

  void Welcome(Descriptor connection);
  void Watch();
  // Reads the client's messages. Forgets the client if it has hung up.
  void Receive(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives the client `bytes` of the limit, and takes them from idle clients if necessary. False if
  // that is not enough.
  bool SetAside(Client& client, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Discard(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(Client& client);

  const Options options_;
  const Clock& clock_;
  os::System& system_;
  // Wakes the watching thread.
  const Descriptor wake_;
  std::string socket_;
  mutable absl::Mutex mutex_;
  // The keys are tokens.
  std::map<std::string, std::shared_ptr<Client>, std::less<>> clients_ ABSL_GUARDED_BY(mutex_);
  uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
  // Declared last, so that it ends first.
  std::unique_ptr<UnixServer> server_;
};

// A segment while one run writes to it; destroying this ends that. Thread-compatible.
class SharedResult {
 public:
  SharedResult(SharedMemory& memory, std::shared_ptr<SharedMemory::Client> client,
               std::vector<uint64_t> starts)
      : memory_(memory), client_(std::move(client)), starts_(std::move(starts)) {}
  ~SharedResult() { memory_.Release(*client_); }
  SharedResult(const SharedResult&) = delete;
  SharedResult& operator=(const SharedResult&) = delete;

  // Whether the segment has memory for every tensor of the run, so that Buffer never fails.
  bool HasAllMemory() const { return client_->segment->HasMemory(starts_.back()); }

  // The memory for bytes [offset, offset + bytes) of tensor number `index` of the plan; null if the
  // system has no memory left.
  uint8_t* Buffer(uint32_t index, uint64_t offset, uint64_t bytes) {
    return client_->segment->Reserve(starts_[index] + offset, bytes);
  }

  // The offset of `data` in the segment, in bytes; nullopt if `data` is not in the segment.
  std::optional<uint64_t> Find(const void* data) const;

 private:
  SharedMemory& memory_;
  const std::shared_ptr<SharedMemory::Client> client_;
  // The offset in the segment of each tensor of the plan.
  const std::vector<uint64_t> starts_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_SHARED_MEMORY_H_
