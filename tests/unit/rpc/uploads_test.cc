#include "server/rpc/uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/errors/errors.h"
#include "tests/unit/support/run_specs.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Spec;

// Two uploads: of 8 and of 4 bytes.
constexpr char kTwo[] = R"pb(
  interventions {
    hook: "hook_embed"
    set { value { upload { dtype: DTYPE_FLOAT32 shape: 2 upload: 0 } } }
  }
  interventions {
    hook: "hook_embed"
    zero {}
  }
  interventions {
    hook: "hook_embed"
    scale {
      factor {
        upload {
          dtype: DTYPE_BFLOAT16
          shape: [ 1, 2 ]
          upload: 1
        }
      }
    }
  }
)pb";

v1::TensorChunks Piece(uint32_t upload, uint64_t offset, const std::string& data) {
  v1::TensorChunks pieces;
  v1::TensorChunk& piece = *pieces.add_chunks();
  piece.set_tensor(upload);
  piece.set_offset(offset);
  piece.set_data(data);
  return pieces;
}

v1::ErrorReason ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

TEST(Uploads, BecomeTheValuesOfTheSpec) {
  v1::RunSpec spec = Spec(kTwo);
  auto uploads = Uploads::Of(spec, 12);
  ASSERT_TRUE(uploads.ok()) << uploads.status();
  EXPECT_FALSE(uploads->complete());
  EXPECT_TRUE(uploads->Take(Piece(0, 0, "abc")).ok());
  EXPECT_TRUE(uploads->Take(Piece(0, 3, "defgh")).ok());
  EXPECT_TRUE(uploads->Take(Piece(1, 0, "ijkl")).ok());
  EXPECT_TRUE(uploads->complete());
  const v1::TensorValue& first = spec.interventions(0).set().value().tensor();
  EXPECT_EQ(first.data(), "abcdefgh");
  EXPECT_EQ(first.dtype(), v1::DTYPE_FLOAT32);
  EXPECT_THAT(first.shape(), ::testing::ElementsAre(2));
  EXPECT_EQ(spec.interventions(2).scale().factor().tensor().data(), "ijkl");
}

TEST(Uploads, AreNoneWhereNoValueIsOne) {
  v1::RunSpec spec = Spec("interventions { hook: 'hook_embed' zero {} }");
  auto uploads = Uploads::Of(spec, 0);
  ASSERT_TRUE(uploads.ok());
  EXPECT_TRUE(uploads->complete());
  EXPECT_EQ(ReasonOf(uploads->Take(Piece(0, 0, "a"))), v1::ERROR_REASON_UNEXPECTED_MESSAGE);
}

TEST(Uploads, PiecesMustComeInOrder) {
  v1::RunSpec spec = Spec(kTwo);
  auto uploads = Uploads::Of(spec, 12);
  ASSERT_TRUE(uploads.ok());
  for (const auto& piece : {Piece(1, 0, "ijkl"), Piece(0, 1, "a"), Piece(0, 0, "abcdefghi")}) {
    EXPECT_EQ(ReasonOf(uploads->Take(piece)), v1::ERROR_REASON_UNEXPECTED_MESSAGE);
  }
}

TEST(Uploads, AreRefusedBeforeTheyComeWhereTheyAreTooLarge) {
  v1::RunSpec spec = Spec(kTwo);
  EXPECT_EQ(ReasonOf(Uploads::Of(spec, 11).status()), v1::ERROR_REASON_VALUE_TOO_LARGE);
}

TEST(Uploads, MustSayWhatTheyAre) {
  for (const char* upload : {"shape: 2 upload: 0", "dtype: DTYPE_FLOAT32 shape: 0 upload: 0",
                             "dtype: DTYPE_FLOAT32 shape: 2 upload: 1",
                             "dtype: DTYPE_FLOAT32 shape: 4294967296 shape: 4294967296 upload: 0",
                             "dtype: DTYPE_FLOAT32 shape: 1073741824 upload: 0"}) {
    v1::RunSpec spec =
        Spec(std::string("interventions { hook: 'hook_embed' set { value { upload { ") + upload +
             " } } } }");
    EXPECT_EQ(ReasonOf(Uploads::Of(spec, ~uint64_t{0}).status()), v1::ERROR_REASON_BAD_FIELD)
        << upload;
  }
}

}  // namespace
}  // namespace hookwire::server
