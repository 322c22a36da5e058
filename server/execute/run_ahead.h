// Keeps a pass from running far ahead of its device, which executes calls later than they are made.
#ifndef HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_
#define HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_

#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <deque>

namespace hookwire::server {

// For one pass. Without it a whole pass is in the device's queue before its first layer has run,
// and turns of other passes, deadlines and cancellation, which are looked at between layers, come
// too late.
class RunAhead {
 public:
  // The calls of a layer have been queued on `device`. Blocks until at most `kLayers` layers are
  // outstanding: enough that the device never waits for the next. On the CPU calls return when they
  // are done.
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
