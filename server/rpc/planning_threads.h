// Threads for requests whose decoding or planning may take long, so that gRPC's threads stay free
// for other calls.
//
// These threads run at most one job of a client at a time, and the clients take turns: a client
// that sends many requests waits for its own ones. The number of waiting jobs is limited, and one
// client may fill half of the places that the others leave.
#ifndef HOOKWIRE_SERVER_RPC_PLANNING_THREADS_H_
#define HOOKWIRE_SERVER_RPC_PLANNING_THREADS_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe.
class PlanningThreads {
 public:
  struct Options {
    int threads = 2;
    // The most jobs that wait; those that have begun do not count.
    size_t max_waiting = 256;
  };

  PlanningThreads() : PlanningThreads(Options()) {}
  explicit PlanningThreads(const Options& options);
  // Runs the jobs that still wait, and returns when all are done.
  ~PlanningThreads();

  // Queues a job of the client with this key (Principal::key), which is then run exactly once. It
  // must not throw. ResourceExhausted (QUEUE_FULL) if too many wait, in all or of this client; the
  // job is then never run.
  absl::Status Enqueue(const std::string& client, std::function<void()> job);

 private:
  struct Client {
    std::deque<std::function<void()>> waiting;
    bool busy = false;
  };

  void Work();
  // The client whose turn it is; end() if none has a job that may begin.
  std::map<std::string, Client>::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  absl::Mutex mutex_;
  // Clients that have jobs, waiting or begun.
  std::map<std::string, Client> clients_ ABSL_GUARDED_BY(mutex_);
  // The client whose job was begun last.
  std::string last_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_PLANNING_THREADS_H_
