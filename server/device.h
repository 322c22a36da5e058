// Opens the devices that --device names.
#ifndef HOOKWIRE_SERVER_DEVICE_H_
#define HOOKWIRE_SERVER_DEVICE_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hookwire::server {

// Each name is "cpu", "cuda" (the first one), "cuda:<n>", or a device of another kind whose backend
// has been loaded into this process. Several devices must be of one kind, and named once each.
// Opens the CUDA part of libtorch, which is beside the CPU part, so that neither the build nor a
// daemon on the CPU needs CUDA. Call it before anything asks libtorch whether it has CUDA, because
// libtorch keeps the first answer. FailedPrecondition with the cause if a device cannot be opened.
absl::StatusOr<std::vector<at::Device>> OpenDevices(const std::vector<std::string>& names);

// Free memory of the device now, in bytes; for the CPU, of the machine. 0 if it is not known.
uint64_t FreeMemory(at::Device device);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_DEVICE_H_
