// Slots for runs whose pass may have to wait for its client to answer or to read.
#ifndef HOOKWIRE_SERVER_SCHEDULE_SLOTS_H_
#define HOOKWIRE_SERVER_SCHEDULE_SLOTS_H_

#include <map>
#include <string>

namespace hookwire::server {

// Which client holds how many of a fixed number of slots. Not thread-safe.
class Slots {
 public:
  // `count` is at least 1.
  explicit Slots(int count) : count_(count) {}

  int count() const { return count_; }
  // Held by one client.
  int held(const std::string& client) const {
    const auto it = by_client_.find(client);
    return it == by_client_.end() ? 0 : it->second;
  }

  // REQUIRES: fewer than all are held.
  void Take(const std::string& client) {
    ++held_;
    ++by_client_[client];
  }
  // `leaving`: the holder had been told to give the slot up (MustLeave).
  void Return(const std::string& client, bool leaving) {
    --held_;
    if (leaving) --leaving_;
    const auto it = by_client_.find(client);
    if (--it->second == 0) by_client_.erase(it);
  }

  // Whether a holder of `client` has to give up its slot, where `wanted` runs wait for one: nobody
  // has been told so for that run yet, and no client holds more slots than this one. From then on
  // the holder counts as leaving.
  bool MustLeave(const std::string& client, int wanted) {
    if (wanted <= count_ - held_ + leaving_) return false;
    for (const auto& [other, slots] : by_client_) {
      if (slots > held(client)) return false;
    }
    ++leaving_;
    return true;
  }

 private:
  const int count_;
  int held_ = 0;
  int leaving_ = 0;
  std::map<std::string, int> by_client_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_SLOTS_H_
