// Results through memory that clients on this host read, in place of messages that carry them.
//
// A client connects to a Unix socket, and where it is the daemon's user or root it gets a token and
// the descriptor of a segment of its own. It names the token in the runs that it starts. A run that
// fits, while no other has the segment, leaves its tensors there, and messages say where. When the
// client has read them all, it says so with a byte, and the next run may have the segment. Whatever
// does not fit goes in messages as ever.
//
// The memory of a segment is kept for the next run: memory that was used before costs nothing, new
// memory some microseconds a page. It is given back when the client goes, when it has not been used
// for a while, and when another client's run needs it.
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
#include "server/local/descriptor.h"
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
    // Of all segments together: at most so much memory.
    uint64_t max_bytes = uint64_t{1} << 30;
    // Smaller results go in messages, which takes no longer.
    uint64_t min_result_bytes = 256u << 10;
    size_t max_clients = 256;
    // Memory that no run has used for so long is given back.
    absl::Duration idle_time = absl::Seconds(10);
  };

  // The error says what the system lacks. `clock` must outlive it.
  static absl::StatusOr<std::unique_ptr<SharedMemory>> Create(const Options& options,
                                                              const Clock& clock);
  // REQUIRES: no SharedResult is left.
  ~SharedMemory();

  // The name of its socket, of type SOCK_SEQPACKET, in the abstract namespace.
  const std::string& socket() const { return socket_; }

  // The segment of the client that has this token, for the tensors of one run. Null where they must
  // go in messages: no client has the token, it has not read the run before, the result is small or
  // does not fit, or the plan has callbacks.
  std::unique_ptr<SharedResult> Lend(std::string_view token, const RunPlan& plan);

  // Memory that is set aside.
  uint64_t held() const;
  size_t clients() const;

  // Gives back memory that has been idle for too long at `now`; returns when to look again. Called
  // by the watching thread.
  absl::Time FreeIdle(absl::Time now);

 private:
  friend class SharedResult;

  // A client.
  struct Session {
    enum State {
      // No run has the segment, and the client has read what was there.
      kFree,
      kWriting,
      // The run has ended; the client still reads.
      kReading,
    };

    Descriptor connection;
    std::string token;
    std::unique_ptr<Segment> segment;
    State state = kFree;
    absl::Time free_since;
    // Of the limit.
    uint64_t held = 0;
    bool gone = false;
  };

  SharedMemory(const Options& options, const Clock& clock, Descriptor wake)
      : options_(options), clock_(clock), wake_(std::move(wake)) {}

  void Welcome(Descriptor connection);
  void Watch();
  // Reads the client's messages. Where it has hung up, the session ends.
  void Receive(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes memory from others that do not use it. False where that is not enough.
  bool SetAside(Session& session, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Discard(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(Session& session);

  const Options options_;
  const Clock& clock_;
  // Wakes the watching thread.
  const Descriptor wake_;
  std::string socket_;
  mutable absl::Mutex mutex_;
  // By token.
  std::map<std::string, std::shared_ptr<Session>, std::less<>> sessions_ ABSL_GUARDED_BY(mutex_);
  uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
  // Last, so that it ends first.
  std::unique_ptr<UnixServer> server_;
};

// A segment while one run writes to it: until the end of this object. Thread-compatible.
class SharedResult {
 public:
  SharedResult(SharedMemory& memory, std::shared_ptr<SharedMemory::Session> session,
               std::vector<uint64_t> starts)
      : memory_(memory), session_(std::move(session)), starts_(std::move(starts)) {}
  ~SharedResult() { memory_.Release(*session_); }
  SharedResult(const SharedResult&) = delete;
  SharedResult& operator=(const SharedResult&) = delete;

  // Whether the segment has memory for every tensor of the run, so that Buffer never fails.
  bool HasAllMemory() const { return session_->segment->HasMemory(starts_.back()); }

  // Where `bytes` of tensor number `index` from its byte `offset` on are to be written; null where
  // the system has no memory left.
  uint8_t* Buffer(uint32_t index, uint64_t offset, uint64_t bytes) {
    return session_->segment->Reserve(starts_[index] + offset, bytes);
  }

  // Where in the segment `data` lie, in bytes; nothing where they lie elsewhere.
  std::optional<uint64_t> Find(const void* data) const;

 private:
  SharedMemory& memory_;
  const std::shared_ptr<SharedMemory::Session> session_;
  // Of the tensors of the plan, by number.
  const std::vector<uint64_t> starts_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_SHARED_MEMORY_H_
