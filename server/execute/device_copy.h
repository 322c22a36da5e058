// A copy of a tensor from its device to this host, made while the device computes.
//
// Each device has one stream for copies alone. A copy waits there for the kernels that make its
// tensor, and goes into pinned memory while the layers after it compute; an event says when it has
// arrived. Everything is asked of libtorch's device-generic interfaces.
#ifndef HOOKWIRE_SERVER_EXECUTE_DEVICE_COPY_H_
#define HOOKWIRE_SERVER_EXECUTE_DEVICE_COPY_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

namespace hookwire::server {

// Used on the thread that runs the pass.
class DeviceCopy {
 public:
  // Starts the copy. `source` is contiguous, on a device other than the CPU, and is not written to
  // any more.
  explicit DeviceCopy(at::Tensor source);
  DeviceCopy(DeviceCopy&&) = default;
  DeviceCopy& operator=(DeviceCopy&&) = delete;
  // Waits for the copy: memory that a device still reads or writes must not be freed.
  ~DeviceCopy();

  bool HasArrived() const { return arrived_.query(); }
  // The copy: on the CPU, contiguous, pinned, alone in its storage. Blocks until it is done. May be
  // called once.
  at::Tensor Take();

 private:
  c10::Event arrived_;
  // Kept until the device has read it.
  at::Tensor source_;
  at::Tensor host_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_DEVICE_COPY_H_
