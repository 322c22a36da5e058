// Memory that this process writes and another process reads.
#ifndef HOOKWIRE_SERVER_LOCAL_SEGMENT_H_
#define HOOKWIRE_SERVER_LOCAL_SEGMENT_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "os/descriptor.h"
#include "os/system.h"

namespace hookwire::server {

using os::Descriptor;

// A memfd, sealed against changes of its size. The system allocates its memory block by block, in
// Reserve. Thread-compatible.
class Segment {
 public:
  // Memory is asked of the system in blocks of this size.
  static constexpr uint64_t kBlock = uint64_t{2} << 20;

  // A segment of `bytes`, rounded up to whole blocks, of which none has memory yet. `system` must
  // outlive it.
  static absl::StatusOr<std::unique_ptr<Segment>> Create(uint64_t bytes,
                                                         os::System& system = os::RealSystem());
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  uint64_t bytes() const { return blocks_.size() * kBlock; }
  const uint8_t* data() const { return data_; }
  // A descriptor through which the memory can be read and mapped, not written.
  int reader() const { return reader_.get(); }
  // Closes that descriptor, once it has been sent to the reader.
  void CloseReader() { reader_ = Descriptor(); }

  // Memory for `bytes` from `offset` on, to be written; null if they end after the segment's end,
  // or if the system has no memory left; errno then says why.
  uint8_t* Reserve(uint64_t offset, uint64_t bytes);

  // Whether the system has given it memory for its first `bytes`: Reserve then cannot fail there.
  bool HasMemory(uint64_t bytes) const;

  // Returns all memory to the system. Readers then read zeros. False if the system does not take
  // it: the memory is then in use as before.
  bool Discard();

 private:
  Segment(os::System& system, Descriptor reader, uint8_t* data, uint64_t blocks)
      : system_(system), reader_(std::move(reader)), data_(data), blocks_(blocks) {}

  os::System& system_;
  Descriptor reader_;
  uint8_t* const data_;
  // By block: whether it has memory.
  std::vector<bool> blocks_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_SEGMENT_H_
