#include "server/execute/device_copy.h"

#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <utility>

#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "model/guard.h"

namespace hookwire::server {
namespace {

// The device's one stream for copies.
c10::Stream CopyStream(at::Device device) {
  static absl::Mutex mutex(absl::kConstInit);
  static auto* const kStreams ABSL_PT_GUARDED_BY(mutex) =
      new std::map<c10::DeviceIndex, c10::Stream>();
  const absl::MutexLock lock(&mutex);
  const auto known = kStreams->find(device.index());
  if (known != kStreams->end()) return known->second;
  const c10::Stream made =
      c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, false);
  return kStreams->emplace(device.index(), made).first->second;
}

}  // namespace

DeviceCopy::DeviceCopy(at::Tensor source)
    : arrived_(source.device().type()), source_(std::move(source)) {
  const at::Device device = source_.device();
  host_ = at::empty(
      source_.sizes(),
      at::TensorOptions().dtype(source_.scalar_type()).device(at::kCPU).pinned_memory(true));
  const c10::Stream copies = CopyStream(device);
  c10::Event made(device.type());
  made.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  made.block(copies);
  const c10::StreamGuard guard(copies);
  host_.copy_(source_, /*non_blocking=*/true);
  arrived_.record(copies);
}

DeviceCopy::~DeviceCopy() {
  if (!source_.defined()) return;
  // If waiting fails the device is unusable, and the next call to it returns the error.
  model::Guarded<absl::Status>([this] {
    arrived_.synchronize();
    return absl::OkStatus();
  }).IgnoreError();
}

at::Tensor DeviceCopy::Take() {
  arrived_.synchronize();
  source_.reset();
  return std::move(host_);
}

}  // namespace hookwire::server
