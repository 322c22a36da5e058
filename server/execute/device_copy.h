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

// Used by the thread that runs the pass.
class DeviceCopy {
 public:
  // Starts the copy. `source` is contiguous, on a device other than the CPU, and is not written to
  // any more.
  explicit DeviceCopy(at::Tensor source);
  DeviceCopy(DeviceCopy&&) = default;
  DeviceCopy& operator=(DeviceCopy&&) = delete;
  // Waits: memory that a device still reads or writes is not given back.
  ~DeviceCopy();

  bool HasArrived() const { return arrived_.query(); }
  // Once: blocks until it has arrived. On the CPU, contiguous, pinned, alone in its storage.
  at::Tensor Take();

 private:
  c10::Event arrived_;
  // Held until it has been read.
  at::Tensor source_;
  at::Tensor host_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_DEVICE_COPY_H_
