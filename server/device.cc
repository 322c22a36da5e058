#include "server/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"

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
  // For good: its code registers itself with the CPU part.
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return Unavailable(name, absl::StrCat("cannot open libtorch_cuda.so: ", dlerror()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<at::Device> OpenDevice(const std::string& name) {
  if (name == "cpu") return at::Device(at::kCPU);
  if (absl::Status status = OpenCudaLibrary(name); !status.ok()) return status;
  try {
    at::Device device(name);
    if (!device.has_index()) device.set_index(0);
    const int count = at::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0;
    if (count == 0) return Unavailable(name, "no CUDA device, or no driver for it");
    if (device.index() >= count) {
      return Unavailable(name, absl::StrCat("there are only ", count, " CUDA devices"));
    }
    return device;
  } catch (const std::exception& error) {
    return Unavailable(name, error.what());
  }
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
