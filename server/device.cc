#include "server/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hookwire::server {
namespace {

absl::Status Unavailable(const std::string& name, const std::string& cause) {
  return absl::FailedPreconditionError(absl::StrCat("--device ", name, ": ", cause));
}

absl::Status OpenCudaLibrary(const std::string& name) {
  Dl_info cpu_part = {};
  if (dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &cpu_part) == 0 ||
      cpu_part.dli_fname == nullptr) {
    return Unavailable(name, "cannot find libtorch_cpu.so");
  }
  const std::filesystem::path path =
      std::filesystem::path(cpu_part.dli_fname).replace_filename("libtorch_cuda.so");
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Unavailable(
        name, "this libtorch has no CUDA part (no libtorch_cuda.so beside libtorch_cpu.so)");
  }
  // Never closed: its code registers itself with the CPU part.
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return Unavailable(name, absl::StrCat("cannot open libtorch_cuda.so: ", dlerror()));
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Device> OpenDevice(const std::string& name) {
  if (name == "cpu") return at::Device(at::kCPU);
  if (absl::StartsWith(name, "cuda")) {
    if (absl::Status status = OpenCudaLibrary(name); !status.ok()) return status;
    // libtorch asks the driver, and keeps the answer.
    if (!at::hasCUDA()) return Unavailable(name, "no CUDA device, or no driver for it");
  }
  try {
    at::Device device(name);
    if (!at::isAccelerator(device.type()) || !c10::impl::hasDeviceGuardImpl(device.type())) {
      return Unavailable(name, "this libtorch has no such device; choose cpu, cuda or cuda:<n>");
    }
    if (!device.has_index()) device.set_index(0);
    const int count = c10::impl::VirtualGuardImpl(device.type()).deviceCount();
    if (device.index() < count) return device;
    return Unavailable(name, count == 0 ? "no such device, or no driver for it"
                                        : absl::StrCat("the last one is ", count - 1));
  } catch (const std::exception&) {
    return Unavailable(name, "there is no such kind of device; choose cpu, cuda or cuda:<n>");
  }
}

}  // namespace

absl::StatusOr<std::vector<at::Device>> OpenDevices(const std::vector<std::string>& names) {
  std::vector<at::Device> devices;
  for (const std::string& name : names) {
    const absl::StatusOr<at::Device> device = OpenDevice(name);
    if (!device.ok()) return device.status();
    if (std::find(devices.begin(), devices.end(), *device) != devices.end()) {
      return Unavailable(name, "named twice");
    }
    if (!devices.empty() && devices.front().type() != device->type()) {
      return Unavailable(absl::StrJoin(names, ","), "devices of different kinds");
    }
    devices.push_back(*device);
  }
  return devices;
}

uint64_t FreeMemory(at::Device device) {
  if (!device.is_cpu()) {
    try {
      return c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
    } catch (const std::exception&) {
      return 0;
    }
  }
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    uint64_t kibibytes = 0;
    if (word == "MemAvailable:" && file >> kibibytes) return kibibytes << 10;
  }
  return 0;
}

}  // namespace hookwire::server
