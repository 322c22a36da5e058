// Finds the device that was asked for.
#ifndef HOOKWIRE_SERVER_DEVICE_H_
#define HOOKWIRE_SERVER_DEVICE_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace hookwire::server {

// "cpu", "cuda" or "cuda:<n>". The CUDA part of libtorch is opened here, from beside the CPU part,
// so that nothing of CUDA is needed to build or where it is not asked for. Call it before anything
// asks libtorch for CUDA: the answer is kept for good. FailedPrecondition with the cause where the
// device cannot be had.
absl::StatusOr<at::Device> OpenDevice(const std::string& name);

// Bytes that are free there now: of the machine, or of the device. 0 where nobody says.
uint64_t FreeMemory(at::Device device);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_DEVICE_H_
