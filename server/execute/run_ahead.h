// Limits how many layers of a pass are in the device's queue at the same time.
//
// Calls to a GPU return before the GPU has executed them. Without a limit, a pass would put all its
// layers into the queue while the first one runs. Other passes get the device between two layers,
// and deadlines and cancellation are checked there, so all of these would come too late.
#ifndef HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_
#define HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_

#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <deque>

namespace hookwire::server {

// For one pass, on the thread that runs it.
class RunAhead {
 public:
  // Call it when all calls of a layer have been queued on `device`. Blocks while more than
  // `kLayers` layers are queued and not yet executed. On the CPU it does nothing, since calls
  // return when they have been executed.
  void LayerAsked(at::Device device) {
    if (device.is_cpu()) return;
    layers_.emplace_back(device.type());
    layers_.back().record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    if (layers_.size() <= kLayers) return;
    layers_.front().synchronize();
    layers_.pop_front();
  }

 private:
  // Two, so that the device already has the next layer when it ends one.
  static constexpr size_t kLayers = 2;
  std::deque<c10::Event> layers_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_RUN_AHEAD_H_
