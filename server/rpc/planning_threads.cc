#include "server/rpc/planning_threads.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {

PlanningThreads::PlanningThreads(const Options& options) : options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Work(); });
}

PlanningThreads::~PlanningThreads() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status PlanningThreads::Enqueue(const std::string& client, std::function<void()> job) {
  size_t own = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = clients_.find(client);
    if (found != clients_.end()) own = found->second.waiting.size();
    const size_t free = options_.max_waiting - waiting_;
    // As in the queue of runs: a client that comes later finds a place (Choudhury and Hahne 1998).
    if (free > 0 && (own == 0 || own < free)) {
      clients_[client].waiting.push_back(std::move(job));
      ++waiting_;
      return absl::OkStatus();
    }
  }
  return MakeError(
      absl::StrCat("too many large requests wait to be planned: this server lets ",
                   options_.max_waiting, " wait, and ", own,
                   " are of this client, which may fill "
                   "half of the places that others leave"),
      {v1::ERROR_REASON_QUEUE_FULL,
       "",
       {{"limit", absl::StrCat(options_.max_waiting)}, {"waiting", absl::StrCat(own)}}});
}

std::map<std::string, PlanningThreads::Client>::iterator PlanningThreads::Next() {
  const auto may_begin = [](const auto& client) {
    return !client.second.busy && !client.second.waiting.empty();
  };
  // Round robin in the order of their keys, beginning after the last one.
  const auto after = clients_.upper_bound(last_);
  for (auto it = after; it != clients_.end(); ++it) {
    if (may_begin(*it)) return it;
  }
  for (auto it = clients_.begin(); it != after; ++it) {
    if (may_begin(*it)) return it;
  }
  return clients_.end();
}

void PlanningThreads::Work() {
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return (stop_ && waiting_ == 0) || Next() != clients_.end();
  };
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.Await(absl::Condition(&ready));
    const auto turn = Next();
    if (turn == clients_.end()) return;
    last_ = turn->first;
    Client& client = turn->second;
    std::function<void()> job = std::move(client.waiting.front());
    client.waiting.pop_front();
    --waiting_;
    client.busy = true;
    mutex_.Unlock();
    job();
    // Frees what the job holds before the next one begins.
    job = nullptr;
    mutex_.Lock();
    client.busy = false;
    if (client.waiting.empty()) clients_.erase(turn);
  }
}

}  // namespace hookwire::server
