#include "server/rpc/request_reads.h"

#include <algorithm>
#include <iterator>

namespace hookwire::server {

size_t ReadsFor(uint64_t request_memory) {
  return static_cast<size_t>(std::clamp<uint64_t>(request_memory / 8 / kMaxRequestBytes, 1, 32));
}

uint64_t WithoutReads(uint64_t request_memory) {
  return request_memory - std::min(ReadsFor(request_memory) * kMaxRequestBytes, request_memory / 2);
}

void RequestReads::Ask(const std::string& client, std::shared_ptr<Reader> reader) {
  std::vector<std::shared_ptr<Reader>> begin;
  {
    absl::MutexLock lock(&mutex_);
    clients_[client].waiting.push_back(std::move(reader));
    begin = Next();
  }
  for (const auto& next : begin) next->TurnCame();
}

void RequestReads::GiveBack(const std::string& client) {
  std::vector<std::shared_ptr<Reader>> begin;
  {
    absl::MutexLock lock(&mutex_);
    --reading_;
    const auto found = clients_.find(client);
    Client& its = found->second;
    if (--its.reading == 0 && its.waiting.empty()) clients_.erase(found);
    begin = Next();
  }
  for (const auto& next : begin) next->TurnCame();
}

void RequestReads::Leave(const std::string& client, const Reader* reader) {
  // Destroyed after the mutex has been released.
  std::shared_ptr<Reader> left;
  absl::MutexLock lock(&mutex_);
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  Client& its = found->second;
  const auto place = std::find_if(its.waiting.begin(), its.waiting.end(),
                                  [&](const auto& waiting) { return waiting.get() == reader; });
  if (place == its.waiting.end()) return;
  left = std::move(*place);
  its.waiting.erase(place);
  if (its.reading == 0 && its.waiting.empty()) clients_.erase(found);
}

bool RequestReads::MayRead(const Client& client) const {
  if (client.waiting.empty() || reading_ >= max_reads_) return false;
  // One read is always possible for a client that has none.
  return client.reading == 0 ||
         2 * (client.reading + 1) + (reading_ - client.reading) <= max_reads_;
}

std::vector<std::shared_ptr<RequestReads::Reader>> RequestReads::Next() {
  std::vector<std::shared_ptr<Reader>> begin;
  // The clients take turns: in the order of their keys, beginning after the last one.
  for (size_t passed = 0; passed < clients_.size();) {
    auto next = clients_.upper_bound(last_);
    if (next == clients_.end()) next = clients_.begin();
    last_ = next->first;
    if (!MayRead(next->second)) {
      ++passed;
      continue;
    }
    passed = 0;
    begin.push_back(std::move(next->second.waiting.front()));
    next->second.waiting.pop_front();
    ++next->second.reading;
    ++reading_;
  }
  return begin;
}

}  // namespace hookwire::server
