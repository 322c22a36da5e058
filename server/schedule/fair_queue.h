// The queue of waiting runs, in an order that is fair by client.
#ifndef HOOKWIRE_SERVER_SCHEDULE_FAIR_QUEUE_H_
#define HOOKWIRE_SERVER_SCHEDULE_FAIR_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/schedule/pass_memory.h"
#include "server/schedule/scheduler.h"

namespace hookwire::server {

// A run, from Scheduler::Enqueue to its end.
struct WaitingRun {
  std::unique_ptr<QueuedRun> run;
  absl::Time enqueued;
  // Since when it has had its turn, but not the room that it needs, so that others were taken
  // before it; InfiniteFuture where that has not happened.
  absl::Time passed_over_since = absl::InfiniteFuture();
  // Passed over for so long that room is now kept for it.
  bool aged = false;

  // Once it has begun: its memory, and whether it has been told to give up its slot.
  PassMemory::Grant memory = {};
  bool leaving_slot = false;
};

// Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) on tokens: of clients that always
// have runs waiting, each gets tokens in proportion to its weight, whatever the sizes of its runs
// and however many of them wait. A client's weight is that of its next run: QueuedRun::weight times
// its priority's factor (PriorityFactor). Within a client, a higher priority goes first, and of
// equal ones the earlier run. Unlike deficit round robin, a client whose next run does not fit now
// can be passed over without losing its turn, and a long run needs no rounds of saving.
//
// Not thread-safe.
class FairQueue {
 public:
  void Push(WaitingRun run);

  // Removes and returns the first run, in the order of turns, that `fits` accepts among the
  // clients' next runs; nothing if it accepts none.
  std::optional<WaitingRun> Pop(absl::FunctionRef<bool(WaitingRun&)> fits);

  // Whether Pop would find one.
  bool Any(absl::FunctionRef<bool(const WaitingRun&)> fits) const;

  // Calls `f` with each client's next run, in no order.
  void ForEachNext(absl::FunctionRef<void(WaitingRun&)> f);

  // Removes the run with this id, wherever it stands.
  std::optional<WaitingRun> Remove(std::string_view id);
  // Removes all runs that have waited since `time` or longer.
  std::vector<WaitingRun> RemoveOlderThan(absl::Time time);
  std::vector<WaitingRun> RemoveAll();

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // Of all runs that wait.
  uint64_t tokens() const { return tokens_; }
  // Runs of one client.
  size_t size(const std::string& client) const;
  // When the longest waiting run came; InfiniteFuture where none waits.
  absl::Time oldest() const;

 private:
  struct Client {
    // The virtual time at which its next run starts: the tokens that it has had, divided by weight.
    double start = 0;
    // Highest priority first, then in the order of arrival.
    std::list<WaitingRun> waiting;
  };

  WaitingRun Take(Client& client, std::list<WaitingRun>::iterator run);
  // Forgets clients without waiting runs whose start is not in the future.
  void Forget();

  // A client without waiting runs is kept while its start is in the future, so that sending runs
  // one by one gives it no larger share than sending them all at once.
  std::map<std::string, Client> clients_;
  // The start of the run that was taken last.
  double now_ = 0;
  size_t size_ = 0;
  uint64_t tokens_ = 0;
};

// How many times a normal run's share a run of this priority gets: 1/4, 1, 4.
double PriorityFactor(Priority priority);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_FAIR_QUEUE_H_
