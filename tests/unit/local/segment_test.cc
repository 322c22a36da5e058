// Memory that one process writes and another one reads.

#include "server/local/segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/local/memory_files.h"

namespace hookwire::server {
namespace {

constexpr uint64_t kBytes = 3 * Segment::kBlock;

std::unique_ptr<Segment> Make(uint64_t bytes = kBytes) {
  auto segment = Segment::Create(bytes);
  EXPECT_TRUE(segment.ok()) << segment.status();
  return *std::move(segment);
}

// The memory that the system has given to a file.
uint64_t MemoryOf(const Segment& segment) {
  struct stat file = {};
  EXPECT_EQ(fstat(segment.reader(), &file), 0);
  return static_cast<uint64_t>(file.st_blocks) * 512;
}

// As a reader maps it; unmapped at the end.
class Mapping {
 public:
  Mapping(const Segment& segment, int protection, int flags)
      : size_(segment.bytes()),
        data_(mmap(nullptr, size_, protection, flags, segment.reader(), 0)) {}
  ~Mapping() {
    if (valid()) munmap(data_, size_);
  }
  bool valid() const { return data_ != MAP_FAILED; }
  char* data() const { return static_cast<char*>(data_); }

 private:
  const uint64_t size_;
  void* const data_;
};

TEST(Segment, WhatIsWrittenIsSeenByItsReader) {
  const auto segment = Make();
  const Mapping reader(*segment, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(reader.valid());
  const std::string text = "abcdef";
  const uint64_t offset = Segment::kBlock - 3;
  uint8_t* const place = segment->Reserve(offset, text.size());
  ASSERT_NE(place, nullptr);
  std::copy(text.begin(), text.end(), place);
  EXPECT_EQ(std::string(reader.data() + offset, text.size()), text);
}

TEST(Segment, ItsReaderCannotWrite) {
  const auto segment = Make();
  const int reader = segment->reader();
  EXPECT_EQ(write(reader, "x", 1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_FALSE(Mapping(*segment, PROT_READ | PROT_WRITE, MAP_SHARED).valid());
  EXPECT_EQ(errno, EACCES);
  const Mapping mapping(*segment, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(mapping.valid());
  EXPECT_EQ(mprotect(mapping.data(), segment->bytes(), PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST(Segment, NobodyCanResizeIt) {
  const auto segment = Make();
  EXPECT_EQ(ftruncate(segment->reader(), 1), -1);
  // Not even who opens the file anew.
  const std::string path = absl::StrCat("/proc/self/fd/", segment->reader());
  const int writer = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  for (const auto size : {kBytes - 1, kBytes + 1}) {
    EXPECT_EQ(ftruncate(writer, static_cast<off_t>(size)), -1);
    EXPECT_EQ(errno, EPERM) << size;
  }
  EXPECT_EQ(fcntl(writer, F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
  close(writer);
}

TEST(Segment, AReadersPrivateCopyIsItsOwn) {
  const auto segment = Make();
  *segment->Reserve(0, 1) = 'a';
  const Mapping mapping(*segment, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ASSERT_TRUE(mapping.valid());
  *mapping.data() = 'b';
  EXPECT_EQ(*segment->data(), 'a');
}

TEST(Segment, HasMemoryWhereItWasReserved) {
  const auto segment = Make();
  EXPECT_EQ(MemoryOf(*segment), 0u);
  ASSERT_NE(segment->Reserve(Segment::kBlock, 1), nullptr);
  EXPECT_EQ(MemoryOf(*segment), Segment::kBlock);
  ASSERT_NE(segment->Reserve(Segment::kBlock - 1, 2), nullptr);
  EXPECT_EQ(MemoryOf(*segment), 2 * Segment::kBlock);
}

TEST(Segment, HasAnEnd) {
  const auto segment = Make(kBytes - 1);
  EXPECT_EQ(segment->bytes(), kBytes);
  EXPECT_NE(segment->Reserve(0, kBytes), nullptr);
  EXPECT_EQ(segment->Reserve(0, kBytes + 1), nullptr);
  EXPECT_EQ(segment->Reserve(kBytes, 1), nullptr);
  EXPECT_EQ(segment->Reserve(~uint64_t{0}, 2), nullptr);
}

TEST(Segment, CanGiveItsMemoryBackAndBeUsedAgain) {
  const auto segment = Make();
  const Mapping reader(*segment, PROT_READ, MAP_SHARED);
  *segment->Reserve(0, kBytes) = 'a';
  EXPECT_EQ(*reader.data(), 'a');
  segment->Discard();
  EXPECT_EQ(MemoryOf(*segment), 0u);
  *segment->Reserve(0, 1) = 'b';
  EXPECT_EQ(*reader.data(), 'b');
}

TEST(Segment, LeavesNothingBehind) {
  const int before = CountMemoryFiles();
  auto segment = Make();
  EXPECT_GT(CountMemoryFiles(), before);
  segment = nullptr;
  EXPECT_EQ(CountMemoryFiles(), before);
}

}  // namespace
}  // namespace hookwire::server
