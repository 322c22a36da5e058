#include "server/schedule/fair_queue.h"

#include <algorithm>
#include <utility>

namespace hookwire::server {
namespace {

double Cost(const QueuedRun& run) {
  return static_cast<double>(std::max<uint64_t>(1, run.plan->total_tokens)) /
         (run.weight * PriorityFactor(run.priority));
}

}  // namespace

double PriorityFactor(Priority priority) {
  switch (priority) {
    case Priority::kLow:
      return 0.25;
    case Priority::kNormal:
      return 1;
    case Priority::kHigh:
      return 4;
  }
  return 1;
}

void FairQueue::Push(WaitingRun run) {
  Client& client = clients_[run.run->client];
  client.start = std::max(client.start, now_);
  const auto after = std::find_if(
      client.waiting.begin(), client.waiting.end(),
      [&run](const WaitingRun& other) { return other.run->priority < run.run->priority; });
  tokens_ += run.run->plan->total_tokens;
  ++size_;
  client.waiting.insert(after, std::move(run));
}

std::optional<WaitingRun> FairQueue::Pop(absl::FunctionRef<bool(WaitingRun&)> fits) {
  std::vector<Client*> turns;
  for (auto& [name, client] : clients_) {
    if (!client.waiting.empty()) turns.push_back(&client);
  }
  // Of clients with equal shares so far, the one whose run came first.
  std::sort(turns.begin(), turns.end(), [](const Client* a, const Client* b) {
    if (a->start != b->start) return a->start < b->start;
    return a->waiting.front().enqueued < b->waiting.front().enqueued;
  });
  for (Client* client : turns) {
    WaitingRun& next = client->waiting.front();
    if (!fits(next)) continue;
    now_ = std::max(now_, client->start);
    client->start += Cost(*next.run);
    WaitingRun taken = Take(*client, client->waiting.begin());
    Forget();
    return taken;
  }
  return std::nullopt;
}

bool FairQueue::Any(absl::FunctionRef<bool(const WaitingRun&)> fits) const {
  return std::any_of(clients_.begin(), clients_.end(), [&](const auto& client) {
    return !client.second.waiting.empty() && fits(client.second.waiting.front());
  });
}

void FairQueue::ForEachNext(absl::FunctionRef<void(WaitingRun&)> f) {
  for (auto& [name, client] : clients_) {
    if (!client.waiting.empty()) f(client.waiting.front());
  }
}

std::optional<WaitingRun> FairQueue::Remove(std::string_view id) {
  for (auto& [name, client] : clients_) {
    const auto run =
        std::find_if(client.waiting.begin(), client.waiting.end(),
                     [id](const WaitingRun& waiting) { return waiting.run->id == id; });
    if (run == client.waiting.end()) continue;
    WaitingRun taken = Take(client, run);
    Forget();
    return taken;
  }
  return std::nullopt;
}

std::vector<WaitingRun> FairQueue::RemoveOlderThan(absl::Time time) {
  std::vector<WaitingRun> removed;
  for (auto& [name, client] : clients_) {
    for (auto run = client.waiting.begin(); run != client.waiting.end();) {
      const auto here = run++;
      if (here->enqueued <= time) removed.push_back(Take(client, here));
    }
  }
  Forget();
  return removed;
}

std::vector<WaitingRun> FairQueue::RemoveAll() { return RemoveOlderThan(absl::InfiniteFuture()); }

size_t FairQueue::size(const std::string& client) const {
  const auto it = clients_.find(client);
  return it == clients_.end() ? 0 : it->second.waiting.size();
}

absl::Time FairQueue::oldest() const {
  absl::Time oldest = absl::InfiniteFuture();
  for (const auto& [name, client] : clients_) {
    for (const WaitingRun& waiting : client.waiting) oldest = std::min(oldest, waiting.enqueued);
  }
  return oldest;
}

WaitingRun FairQueue::Take(Client& client, std::list<WaitingRun>::iterator run) {
  WaitingRun taken = std::move(*run);
  client.waiting.erase(run);
  --size_;
  tokens_ -= taken.run->plan->total_tokens;
  return taken;
}

void FairQueue::Forget() {
  for (auto it = clients_.begin(); it != clients_.end();) {
    const auto here = it++;
    if (here->second.waiting.empty() && here->second.start <= now_) clients_.erase(here);
  }
}

}  // namespace hookwire::server
