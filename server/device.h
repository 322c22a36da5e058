// Finds the devices that were asked for.
#ifndef HOOKWIRE_SERVER_DEVICE_H_
#define HOOKWIRE_SERVER_DEVICE_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hookwire::server {

// "cpu", "cuda" (the first) or "cuda:<n>"; any other kind of device too whose backend has been
// loaded into this process. Several are of one kind, and each is named once. The CUDA part of
// libtorch is opened here, from beside the CPU part, so that nothing of CUDA is needed to build or
// where it is not asked for. Call it before anything asks libtorch for CUDA: the answer is kept for
// good. FailedPrecondition with the cause where a device cannot be had.
absl::StatusOr<std::vector<at::Device>> OpenDevices(const std::vector<std::string>& names);

// Bytes that are free there now: of the machine, or of the device. 0 where nobody says.
uint64_t FreeMemory(at::Device device);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_DEVICE_H_
