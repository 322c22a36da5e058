#include "model/checkpoint/safetensors.h"

#include <cstdint>
#include <fstream>
#include <ios>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::Bytes;
using ::hookwire::testing::SafetensorsBytes;
using ::hookwire::testing::TempDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// Whether an address lies in a mapping of the file, which nobody can write.
bool IsMappedReadOnly(const void* address, const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (std::string line; std::getline(maps, line);) {
    if (line.find(path) == std::string::npos) continue;
    std::istringstream fields(line);
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char dash = 0;
    std::string permissions;
    fields >> std::hex >> begin >> dash >> end >> permissions;
    if (begin <= at && at < end) return permissions == "r--p";
  }
  return false;
}

class Safetensors : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(const std::string& bytes) {
    path_ = directory_.Write("model.safetensors", bytes);
    return SafetensorsFile::Open(path_);
  }
  std::shared_ptr<const SafetensorsFile> MustOpen(const std::string& bytes) {
    auto file = Open(bytes);
    EXPECT_TRUE(file.ok()) << file.status();
    return *file;
  }
  // What the refusal says after the path.
  std::string Refusal(const std::string& bytes) {
    const absl::Status status = Open(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), StartsWith(path_));
    return std::string(status.message().substr(std::min(path_.size(), status.message().size())));
  }

  const TempDirectory directory_;
  std::string path_;
};

TEST_F(Safetensors, GivesTensorsOfEveryDtype) {
  const auto file = MustOpen(SafetensorsBytes(
      R"({"__metadata__": {"format": "pt"},
          "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
          "b": {"dtype": "BF16", "shape": [2], "data_offsets": [8, 12]},
          "c": {"dtype": "I64", "shape": [], "data_offsets": [12, 20]},
          "d": {"dtype": "BOOL", "shape": [1], "data_offsets": [20, 21]},
          "e": {"dtype": "F32", "shape": [3, 0], "data_offsets": [21, 21]},
          "f": {"dtype": "F64", "shape": [1], "data_offsets": [21, 29]},
          "g": {"dtype": "F16", "shape": [1], "data_offsets": [29, 31]}})",
      Bytes({1.5f, -2.0f}) + std::string("\x80\x3f\x00\xc0", 4) +
          std::string("\x07\0\0\0\0\0\0\0", 8) + std::string("\x01", 1) +
          std::string("\0\0\0\0\0\0\xf0\x3f", 8) + std::string("\x00\x3c", 2)));
  EXPECT_THAT(file->names(), UnorderedElementsAre("a", "b", "c", "d", "e", "f", "g"));
  const at::Tensor a = *file->Get("a");
  EXPECT_THAT(a.sizes(), ElementsAre(2, 1));
  EXPECT_EQ(a.scalar_type(), at::kFloat);
  EXPECT_EQ(a[0].item<float>(), 1.5f);
  EXPECT_EQ(a[1].item<float>(), -2.0f);
  const at::Tensor b = *file->Get("b");
  EXPECT_EQ(b.scalar_type(), at::kBFloat16);
  EXPECT_EQ(b[0].item<float>(), 1.0f);
  EXPECT_EQ(b[1].item<float>(), -2.0f);
  const at::Tensor c = *file->Get("c");  // not aligned
  EXPECT_EQ(c.dim(), 0);
  EXPECT_EQ(c.item<int64_t>(), 7);
  EXPECT_TRUE(file->Get("d")->item<bool>());
  EXPECT_THAT(file->Get("e")->sizes(), ElementsAre(3, 0));
  EXPECT_EQ(file->Get("f")->item<double>(), 1.0);
  EXPECT_EQ(file->Get("g")->item<float>(), 1.0f);
}

TEST_F(Safetensors, TensorsLieOverTheMappedFileAndKeepIt) {
  auto file = MustOpen(SafetensorsBytes(
      R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", Bytes({3.0f, 4.0f})));
  at::Tensor a = *file->Get("a");
  const at::Tensor again = *file->Get("a");
  const void* address = a.data_ptr();
  EXPECT_EQ(again.data_ptr(), address);
  EXPECT_TRUE(IsMappedReadOnly(address, path_));

  file.reset();
  EXPECT_TRUE(IsMappedReadOnly(address, path_));
  EXPECT_EQ(a[1].item<float>(), 4.0f);

  a = at::Tensor();
  EXPECT_TRUE(IsMappedReadOnly(address, path_)) << "another tensor still holds it";
}

TEST_F(Safetensors, TheMappingGoesWithTheLastTensor) {
  auto file = MustOpen(SafetensorsBytes(
      R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", Bytes({3.0f, 4.0f})));
  at::Tensor a = *file->Get("a");
  const void* address = a.data_ptr();
  file.reset();
  a = at::Tensor();
  EXPECT_FALSE(IsMappedReadOnly(address, path_));
}

TEST_F(Safetensors, AMissingFileIsNotFound) {
  const absl::Status status = SafetensorsFile::Open(directory_.path() + "/none").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), directory_.path() + "/none: No such file or directory");
}

TEST_F(Safetensors, ADirectoryIsNoFile) {
  const absl::Status status = SafetensorsFile::Open(directory_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), directory_.path() + " is not a regular file");
}

TEST_F(Safetensors, AMissingTensorIsNotFound) {
  const auto file = MustOpen(SafetensorsBytes("{}", ""));
  const absl::Status status = file->Get("a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), path_ + " has no tensor a");
}

TEST_F(Safetensors, UnknownDtypesAreLeftAloneUntilAskedFor) {
  const auto file = MustOpen(SafetensorsBytes(
      R"({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]},
          "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}})",
      "xx" + Bytes({5.0f})));
  EXPECT_EQ(file->Get("b")->item<float>(), 5.0f);
  EXPECT_TRUE(file->Has("a"));
  const absl::Status status = file->Get("a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), path_ + ": a has dtype F4, which is not supported");
}

TEST_F(Safetensors, RefusesAnEmptyFile) { EXPECT_EQ(Refusal(""), " is empty: download it again"); }

TEST_F(Safetensors, RefusesAFileShorterThanItsHeadersLength) {
  EXPECT_EQ(Refusal("1234567"), " is not a whole safetensors file: it is shorter than its header");
}

TEST_F(Safetensors, RefusesHeadersThatClaimTooMuch) {
  for (const int64_t claim : {int64_t{3}, int64_t{1} << 26}) {
    EXPECT_EQ(Refusal(SafetensorsBytes("{}", "", claim)),
              absl::StrCat(" is not a whole safetensors file: its header claims ", claim,
                           " bytes, and the file has 10 in all: download it again"));
  }
  for (const int64_t claim : {int64_t{100'000'001}, INT64_MAX}) {
    EXPECT_EQ(Refusal(SafetensorsBytes("{}", "", claim)),
              absl::StrCat(" is not a whole safetensors file: its header claims ", claim,
                           " bytes, more than the format allows; it may be in another format"));
  }
  // 2^64 - 1.
  EXPECT_THAT(Refusal(std::string(8, '\xff') + "{}"),
              HasSubstr("its header claims 18446744073709551615 bytes"));
}

TEST_F(Safetensors, RefusesHeadersThatAreNoObject) {
  for (const char* header : {"", "{", "[]", "nonsense", "{}}"}) {
    EXPECT_THAT(Refusal(SafetensorsBytes(header, "")), HasSubstr("its header is not a JSON object"))
        << header;
  }
  // A length that cuts the header.
  EXPECT_THAT(Refusal(SafetensorsBytes("{}  ", "", 1)),
              HasSubstr("its header is not a JSON object"));
}

TEST_F(Safetensors, RefusesATruncatedFile) {
  const std::string header = R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})";
  const std::string whole = SafetensorsBytes(header, Bytes({1, 2}));
  EXPECT_THAT(Refusal(whole.substr(0, whole.size() - 1)),
              HasSubstr("its tensors need 8 bytes, and it has 7 of them: download it again"));
  // Anywhere at all: never a crash, always a refusal.
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Open(whole.substr(0, size)).ok()) << size;
  }
}

// Entries that do not fit the file.
struct BadEntry {
  const char* name;
  const char* entry;
  const char* message;
};

class SafetensorsEntry : public Safetensors, public ::testing::WithParamInterface<BadEntry> {};

TEST_P(SafetensorsEntry, IsRefused) {
  const std::string header = absl::StrCat(R"({"weight": )", GetParam().entry, "}");
  EXPECT_EQ(Refusal(SafetensorsBytes(header, std::string(16, 'x'))),
            absl::StrCat(" is not a whole safetensors file: ", GetParam().message));
}

constexpr const char* kLacks = "the entry of weight lacks dtype, shape or data_offsets";
const BadEntry kBadEntries[] = {
    {"NoObject", "7", kLacks},
    {"AList", "[1, 2]", kLacks},
    {"Empty", "{}", kLacks},
    {"NoDtype", R"({"shape": [4], "data_offsets": [0, 16]})", kLacks},
    {"NoShape", R"({"dtype": "F32", "data_offsets": [0, 16]})", kLacks},
    {"NoOffsets", R"({"dtype": "F32", "shape": [4]})", kLacks},
    {"DtypeNoString", R"({"dtype": 32, "shape": [4], "data_offsets": [0, 16]})", kLacks},
    {"ShapeNoList", R"({"dtype": "F32", "shape": 4, "data_offsets": [0, 16]})", kLacks},
    {"OneOffset", R"({"dtype": "F32", "shape": [4], "data_offsets": [0]})", kLacks},
    {"ThreeOffsets", R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]})", kLacks},
    {"NegativeOffset", R"({"dtype": "F32", "shape": [4], "data_offsets": [-1, 15]})", kLacks},
    {"FloatOffset", R"({"dtype": "F32", "shape": [4], "data_offsets": [0.0, 16.0]})", kLacks},
    {"OffsetsReversed", R"({"dtype": "F32", "shape": [4], "data_offsets": [16, 0]})",
     "weight begins at byte 16 and ends at byte 0"},
    {"OffsetPastTheEnd", R"({"dtype": "F32", "shape": [4], "data_offsets": [1, 17]})",
     "its tensors need 17 bytes, and it has 16 of them: download it again"},
    {"HugeOffset",
     R"({"dtype": "F32", "shape": [4], "data_offsets": [18446744073709551599, 18446744073709551615]})",
     "its tensors need 18446744073709551615 bytes, and it has 16 of them: download it again"},
    {"TooFewBytes", R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 12]})",
     "weight has 12 bytes where its shape needs 16"},
    {"TooManyBytes", R"({"dtype": "BF16", "shape": [4], "data_offsets": [0, 16]})",
     "weight has 16 bytes where its shape needs 8"},
    {"NegativeSize", R"({"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]})",
     "the shape of weight is no list of sizes"},
    {"StringSize", R"({"dtype": "F32", "shape": ["4"], "data_offsets": [0, 16]})",
     "the shape of weight is no list of sizes"},
    {"HugeSize", R"({"dtype": "F32", "shape": [9223372036854775808], "data_offsets": [0, 16]})",
     "the shape of weight is too large"},
    // 2^32 × 2^32 × 4 bytes is 0 in 64 bits.
    {"SizesThatOverflow",
     R"({"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]})",
     "the shape of weight is too large"},
    // 2^62 elements of 4 bytes, and 16 bytes besides, wrapped.
    {"BytesThatOverflow",
     R"({"dtype": "F32", "shape": [1048576, 1048576, 4194304], "data_offsets": [0, 0]})",
     "the shape of weight is too large"},
};

INSTANTIATE_TEST_SUITE_P(All, SafetensorsEntry, ::testing::ValuesIn(kBadEntries),
                         [](const auto& info) { return info.param.name; });

TEST_F(Safetensors, RefusesOverlappingTensors) {
  const auto header = [](const char* a, const char* b) {
    return absl::StrCat(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": )", a,
                        R"(}, "b": {"dtype": "U8", "shape": [4], "data_offsets": )", b, "}}");
  };
  const std::string data(8, 'x');
  EXPECT_TRUE(Open(SafetensorsBytes(header("[0, 4]", "[4, 8]"), data)).ok());
  EXPECT_TRUE(Open(SafetensorsBytes(header("[4, 8]", "[0, 4]"), data)).ok());
  for (const auto& [a, b] : std::vector<std::pair<const char*, const char*>>{
           {"[0, 4]", "[3, 7]"}, {"[3, 7]", "[0, 4]"}, {"[0, 4]", "[0, 4]"}}) {
    EXPECT_THAT(Refusal(SafetensorsBytes(header(a, b), data)), HasSubstr("tensors overlap"));
  }
}

TEST_F(Safetensors, RefusesATensorWithinAnotherOfUnknownDtype) {
  EXPECT_THAT(Refusal(SafetensorsBytes(
                  R"({"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]},
                      "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}})",
                  "xxxx")),
              HasSubstr("tensors overlap"));
}

}  // namespace
}  // namespace hookwire::model
