#include "server/local/segment.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"

// Since Linux 5.14 and 6.3; the C library may be older.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace hookwire::server {
namespace {

Descriptor MakeMemfd(os::System& system) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Descriptor memfd(system.MemfdCreate("hookwire", kFlags | MFD_NOEXEC_SEAL), system);
  if (!memfd.valid() && errno == EINVAL) {
    memfd = Descriptor(system.MemfdCreate("hookwire", kFlags), system);
  }
  return memfd;
}

absl::Status Failed(const char* what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " shared memory"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Segment>> Segment::Create(uint64_t bytes, os::System& system) {
  const uint64_t blocks = std::max<uint64_t>(1, (bytes + kBlock - 1) / kBlock);
  const uint64_t size = blocks * kBlock;
  const Descriptor writer = MakeMemfd(system);
  if (!writer.valid() || os::Uninterrupted([&] {
                           return system.Ftruncate(writer.get(), static_cast<off_t>(size));
                         }) != 0) {
    return Failed("create");
  }
  // If the file could shrink, a reader of its end would be killed by SIGBUS.
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (system.AddSeals(writer.get(), kSeals) != 0) return Failed("seal");
  // A second open file description, for reading only: mappings of it cannot be made writable.
  const std::string path = absl::StrCat("/proc/self/fd/", writer.get());
  Descriptor reader(
      os::Uninterrupted([&] { return system.Open(path.c_str(), O_RDONLY | O_CLOEXEC); }), system);
  if (!reader.valid()) return Failed("open");
  void* const data = system.Mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get());
  if (data == MAP_FAILED) return Failed("map");
  // Asks for huge pages, which some systems give to memory files.
  system.Madvise(data, size, MADV_HUGEPAGE);
  return std::unique_ptr<Segment>(
      new Segment(system, std::move(reader), static_cast<uint8_t*>(data), blocks));
}

Segment::~Segment() { system_.Munmap(data_, bytes()); }

uint8_t* Segment::Reserve(uint64_t offset, uint64_t bytes) {
  if (offset > this->bytes() || bytes > this->bytes() - offset) {
    errno = ERANGE;
    return nullptr;
  }
  const uint64_t end = (offset + bytes + kBlock - 1) / kBlock;
  for (uint64_t block = offset / kBlock; block < end; ++block) {
    if (blocks_[block]) continue;
    // Allocates the block now: without memory this fails here, and a write would end the process.
    // It tries again after a signal only: to wait for memory would hold up the pass.
    if (os::Uninterrupted([&] {
          return system_.Madvise(data_ + block * kBlock, kBlock, MADV_POPULATE_WRITE);
        }) != 0) {
      return nullptr;
    }
    blocks_[block] = true;
  }
  return data_ + offset;
}

bool Segment::HasMemory(uint64_t bytes) const {
  const uint64_t end = (bytes + kBlock - 1) / kBlock;
  return end <= blocks_.size() &&
         std::all_of(blocks_.begin(), blocks_.begin() + static_cast<ptrdiff_t>(end),
                     [](bool has_memory) { return has_memory; });
}

bool Segment::Discard() {
  if (os::Uninterrupted([&] { return system_.Madvise(data_, bytes(), MADV_REMOVE); }) != 0) {
    return false;
  }
  std::fill(blocks_.begin(), blocks_.end(), false);
  return true;
}

}  // namespace hookwire::server
