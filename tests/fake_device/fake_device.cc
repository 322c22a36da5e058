// Libtorch devices "fake:0" to "fake:2", whose memory is memory of this host.
//
// Every operator runs on the CPU, and its result is copied back (libtorch's cpu_fallback). Mistakes
// that fail on a GPU fail here too:
// - An operator with tensors of different devices throws.
// - A non-blocking copy to pinned memory is done only when its event or stream is waited for, or
//   queried often enough. Until then the target holds wrong bytes (NaN). It then copies what the
//   source holds at that time.
// - Such a copy on a side stream throws if the stream has not been told to wait for everything that
//   the thread has computed so far.
// - Freed memory is overwritten at once.
// - Memory is limited: HOOKWIRE_FAKE_DEVICE_MB (default 1024) on device 0, twice that on device 1,
//   three times on device 2.
// It does not imitate kernels that run later than they are called: an operator has finished when it
// returns.
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <ATen/ops/_copy_from_and_resize_native.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/copy_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace hookwire::testing {
namespace {

constexpr c10::DeviceIndex kDevices = 3;
constexpr auto kFake = c10::DeviceType::PrivateUse1;
// The byte that fills memory without a valid content: NaN in every floating-point dtype.
constexpr int kWrong = 0xFF;

// The index of a device in an array.
size_t Slot(c10::DeviceIndex device) { return static_cast<uint8_t>(device); }

// The pending copies of one stream. `asked` and `done` count its copies since the start.
struct Queue {
  std::deque<std::function<void()>> waiting;
  uint64_t asked = 0;
  uint64_t done = 0;

  void RunOne() {
    waiting.front()();
    waiting.pop_front();
    ++done;
  }
  void RunTo(uint64_t ticket) {
    while (done < ticket) RunOne();
  }
};

struct Event {
  c10::DeviceIndex device = 0;
  c10::StreamId stream = 0;
  uint64_t ticket = 0;
  // How many operators the recording thread had run on the device.
  uint64_t computed = 0;
};

std::mutex& Mutex() {
  static auto* const kMutex = new std::mutex();
  return *kMutex;
}
// REQUIRES: the caller holds Mutex().
Queue& QueueOf(c10::DeviceIndex device, c10::StreamId stream) {
  static auto* const kQueues = new std::map<std::pair<c10::DeviceIndex, c10::StreamId>, Queue>();
  return (*kQueues)[{device, stream}];
}

// State of this thread.
thread_local c10::DeviceIndex current_device = 0;
thread_local std::array<c10::StreamId, kDevices> current_stream = {};
// How many operators this thread has run on each device, and how many of them each stream has been
// told to wait for.
thread_local std::array<uint64_t, kDevices> computed = {};
thread_local std::map<std::pair<c10::DeviceIndex, c10::StreamId>, uint64_t> awaited;

// ---- memory ----

uint64_t Megabytes() {
  const char* const text = std::getenv("HOOKWIRE_FAKE_DEVICE_MB");
  return text == nullptr ? 1024 : std::strtoull(text, nullptr, 10);
}

struct Block {
  void* data;
  size_t bytes;
  c10::DeviceIndex device;
};

class Memory final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const std::lock_guard<std::mutex> lock(Mutex());
    const c10::DeviceIndex device = current_device;
    size_t& used = used_[Slot(device)];
    if (used + bytes > Total(device)) {
      C10_THROW_ERROR(OutOfMemoryError, c10::str("fake:", int{device}, " has only ",
                                                 Total(device) - used, " bytes left, not ", bytes));
    }
    used += bytes;
    auto* const block = new Block{std::malloc(bytes + 1), bytes, device};
    std::memset(block->data, kWrong, bytes);
    return {block->data, block, &Free, c10::Device(kFake, device)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    const std::lock_guard<std::mutex> lock(Mutex());
    return {Total(device) - used_[Slot(device)], Total(device)};
  }

 private:
  static size_t Total(c10::DeviceIndex device) { return (Megabytes() << 20) * (Slot(device) + 1); }
  static void Free(void* held);

  std::array<size_t, kDevices> used_ = {};
};

Memory& TheMemory() {
  static auto* const kMemory = new Memory();
  return *kMemory;
}

void Memory::Free(void* held) {
  auto* const block = static_cast<Block*>(held);
  std::memset(block->data, kWrong, block->bytes);
  const std::lock_guard<std::mutex> lock(Mutex());
  TheMemory().used_[Slot(block->device)] -= block->bytes;
  // Pending copies may still read it: freed only after 4096 further blocks.
  static auto* const kOld = new std::deque<Block*>();
  kOld->push_back(block);
  if (kOld->size() < 4096) return;
  std::free(kOld->front()->data);
  delete kOld->front();
  kOld->pop_front();
}

// Pinned memory of the host.
class PinnedMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    auto* const block = new Block{std::malloc(bytes + 1), bytes, 0};
    std::memset(block->data, kWrong, bytes);
    const std::lock_guard<std::mutex> lock(Mutex());
    blocks_.emplace(block->data, bytes);
    return {block->data, block, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  bool Has(const void* data) {
    const std::lock_guard<std::mutex> lock(Mutex());
    auto next = blocks_.upper_bound(const_cast<void*>(data));
    if (next == blocks_.begin()) return false;
    const auto& [begin, bytes] = *--next;
    return data < static_cast<const char*>(begin) + bytes;
  }

 private:
  static void Free(void* held);
  std::map<void*, size_t> blocks_;
};

PinnedMemory& ThePinnedMemory() {
  static auto* const kMemory = new PinnedMemory();
  return *kMemory;
}

void PinnedMemory::Free(void* held) {
  auto* const block = static_cast<Block*>(held);
  {
    const std::lock_guard<std::mutex> lock(Mutex());
    ThePinnedMemory().blocks_.erase(block->data);
  }
  std::memset(block->data, kWrong, block->bytes);
  std::free(block->data);
  delete block;
}

// ---- devices, streams, events ----

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kFake; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {kFake, current_device}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() < kDevices, "there is no ", device);
    current_device = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    current_device = device.index();
  }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }

  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, current_stream[Slot(device.index())]);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    static std::atomic<c10::StreamId> next = 1;
    return c10::Stream(c10::Stream::UNSAFE, device, next++);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    c10::StreamId& current = current_stream[Slot(stream.device_index())];
    return c10::Stream(c10::Stream::UNSAFE, stream.device(), std::exchange(current, stream.id()));
  }

  void record(void** event, const c10::Stream& stream, c10::DeviceIndex,
              c10::EventFlag) const override {
    if (*event == nullptr) *event = new Event();
    const std::lock_guard<std::mutex> lock(Mutex());
    *static_cast<Event*>(*event) = {.device = stream.device_index(),
                                    .stream = stream.id(),
                                    .ticket = QueueOf(stream.device_index(), stream.id()).asked,
                                    .computed = computed[Slot(stream.device_index())]};
  }
  void block(void* held, const c10::Stream& stream) const override {
    const auto* const event = static_cast<Event*>(held);
    const std::lock_guard<std::mutex> lock(Mutex());
    QueueOf(event->device, event->stream).RunTo(event->ticket);
    if (event->stream == 0) awaited[{event->device, stream.id()}] = event->computed;
  }
  bool queryEvent(void* held) const override {
    const auto* const event = static_cast<Event*>(held);
    const std::lock_guard<std::mutex> lock(Mutex());
    Queue& queue = QueueOf(event->device, event->stream);
    const bool done = queue.done >= event->ticket;
    if (!done) queue.RunOne();
    return done;
  }
  void synchronizeEvent(void* held) const override {
    const auto* const event = static_cast<Event*>(held);
    const std::lock_guard<std::mutex> lock(Mutex());
    QueueOf(event->device, event->stream).RunTo(event->ticket);
  }
  void destroyEvent(void* held, c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(held);
  }
};

struct Hooks final : public at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  void setCurrentDevice(c10::DeviceIndex device) const override { current_device = device; }
  c10::DeviceIndex getCurrentDevice() const override { return current_device; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    return std::exchange(current_device, device);
  }
  bool isPinnedPtr(const void* data) const override { return ThePinnedMemory().Has(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &ThePinnedMemory(); }
};

// ---- operators ----

// A view of a tensor's memory that the CPU's operators take.
at::Tensor AsCpu(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(),
                       at::TensorOptions().dtype(tensor.scalar_type()));
}

at::Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(c10::device_or_default(device));
  return at::detail::empty_generic(size, &TheMemory(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}

at::Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride,
                        std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                        std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(c10::device_or_default(device));
  return at::detail::empty_strided_generic(size, stride, &TheMemory(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(dtype));
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  const at::Tensor source = AsCpu(from);
  const c10::Device device = from.is_cpu() ? to.device() : from.device();
  const auto index = Slot(device.index());
  const c10::StreamId stream = current_stream[index];
  if (stream != 0) {
    TORCH_CHECK((awaited[{device.index(), stream}]) == computed[index],
                "a copy on a side stream that was not told to wait for its source");
  }
  {
    const std::lock_guard<std::mutex> lock(Mutex());
    Queue& queue = QueueOf(device.index(), stream);
    if (non_blocking && !from.is_cpu() && to.is_cpu()) {
      TORCH_CHECK(to.is_contiguous(), "the target of a non-blocking copy must be contiguous");
      std::memset(to.data_ptr(), kWrong, to.nbytes());
      ++queue.asked;
      const at::Tensor later = at::from_blob(to.data_ptr(), to.sizes(), to.options());
      queue.waiting.emplace_back(
          [source, to = later]() mutable { at::native::copy_(to, source, false); });
      return to;
    }
    queue.RunTo(queue.asked);
  }
  at::Tensor target = AsCpu(to);
  at::native::copy_(target, source, false);
  if (!to.is_cpu()) ++computed[Slot(to.device().index())];
  return to;
}

at::Tensor CopyFromAndResize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) at::native::resize_(to, from.sizes());
  return CopyFrom(from, to, false);
}

at::Scalar LocalScalar(const at::Tensor& tensor) {
  return at::native::_local_scalar_dense_cpu(AsCpu(tensor));
}

at::Tensor& SetStorage(at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size,
                       at::IntArrayRef stride) {
  return at::native::set_storage_cpu_(self, std::move(source), offset, size, stride);
}

// Throws if the tensors are on different devices; 0-d tensors may be on the CPU.
void CheckOneDevice(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                    std::optional<c10::Device>& device) {
  const auto check = [&](const at::Tensor& tensor) {
    if (!tensor.defined() || (tensor.is_cpu() && tensor.dim() == 0)) return;
    TORCH_CHECK(!device.has_value() || *device == tensor.device(), op.schema().operator_name(),
                ": tensors on ", *device, " and ", tensor.device());
    device = tensor.device();
  };
  const size_t n = op.schema().arguments().size();
  for (size_t i = stack.size() - n; i < stack.size(); ++i) {
    if (stack[i].isTensor()) check(stack[i].toTensor());
    if (stack[i].isTensorList()) {
      for (const at::Tensor& tensor : stack[i].toTensorVector()) check(tensor);
    }
    if (stack[i].isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : stack[i].toOptionalTensorVector()) {
        if (tensor.has_value()) check(*tensor);
      }
    }
  }
}

void OnTheCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  std::optional<c10::Device> device;
  CheckOneDevice(op, *stack, device);
  const c10::OptionalDeviceGuard guard(device);
  at::native::cpu_fallback(op, stack);
  if (device.has_value() && !device->is_cpu()) ++computed[Slot(device->index())];
}

int64_t AttentionInSteps(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                         const std::optional<at::Tensor>&, double, bool, std::optional<double>,
                         bool) {
  return static_cast<int64_t>(sdp::SDPBackend::math);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", Empty);
  m.impl("empty_strided", EmptyStrided);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("resize_", at::native::resize_);
  m.impl("set_.source_Storage_storage_offset", SetStorage);
  m.impl("_copy_from", CopyFrom);
  m.impl("_copy_from_and_resize", CopyFromAndResize);
  m.impl("_local_scalar_dense", LocalScalar);
  // Without this, libtorch composes it of other operators, which give other bits.
  m.impl("_grouped_mm", torch::CppFunction::makeFromBoxedFunction<&OnTheCpu>());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&OnTheCpu>());
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

const bool kRegistered = [] {
  c10::register_privateuse1_backend("fake");
  c10::SetAllocator(kFake, &TheMemory());
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  return true;
}();

}  // namespace
}  // namespace hookwire::testing

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &hookwire::testing::AttentionInSteps)
}  // namespace at::native
