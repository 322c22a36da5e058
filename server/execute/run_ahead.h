// Keeps a pass close to a device that works through its calls later.
#ifndef HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_
#define HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_

#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <deque>

namespace hookwire::server {

// Of one pass. Without it a whole pass is in the device's queue before its first layer has run, and
// what is done between layers (turns of others, deadlines, cancellation) comes too late.
class RunAhead {
 public:
  // A layer was asked of `device`. Blocks until at most `kLayers` are outstanding: enough that the
  // device never waits for the next. The CPU has done what it was asked.
  void LayerAsked(at::Device device) {
    if (device.is_cpu()) return;
    layers_.emplace_back(device.type());
    layers_.back().record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    if (layers_.size() <= kLayers) return;
    layers_.front().synchronize();
    layers_.pop_front();
  }

 private:
  static constexpr size_t kLayers = 2;
  std::deque<c10::Event> layers_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_
