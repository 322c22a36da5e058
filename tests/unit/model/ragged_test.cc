#include "model/text/ragged.h"

#include <ATen/ops/equal.h>

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::RandomTensor;

std::vector<at::Tensor> Rows(const std::vector<int64_t>& lengths) {
  std::vector<at::Tensor> rows;
  rows.reserve(lengths.size());
  for (const int64_t length : lengths) {
    rows.push_back(RandomTensor({length, 3}, static_cast<unsigned>(rows.size() + 1)));
  }
  return rows;
}

TEST(Layout, FastLaysSequencesEndToEnd) {
  const Layout layout({3, 1, 4}, Numerics::kFast);
  EXPECT_EQ(layout.n_sequences(), 3);
  EXPECT_EQ(layout.n_parts(), 1);
  EXPECT_EQ(layout.part_rows(0), 8);
  const int64_t first[] = {0, 3, 4};
  const int64_t length[] = {3, 1, 4};
  for (int s = 0; s < 3; ++s) {
    EXPECT_EQ(layout.span(s).part, 0);
    EXPECT_EQ(layout.span(s).row, first[s]);
    EXPECT_EQ(layout.span(s).length, length[s]);
  }
}

TEST(Layout, ReferenceGivesEachSequenceAPart) {
  const Layout layout({3, 1, 4}, Numerics::kReference);
  EXPECT_EQ(layout.numerics(), Numerics::kReference);
  EXPECT_EQ(layout.n_parts(), 3);
  for (int s = 0; s < 3; ++s) {
    EXPECT_EQ(layout.span(s).part, s);
    EXPECT_EQ(layout.span(s).row, 0);
    EXPECT_EQ(layout.part_rows(s), layout.span(s).length);
  }
}

TEST(Layout, SplitIsTheInverseOfJoin) {
  for (const Numerics numerics : {Numerics::kFast, Numerics::kReference}) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{3, 1, 4}, {5}, {2, 2}, {0, 3}, {3, 0, 0, 1}}) {
      const Layout layout(lengths, numerics);
      const std::vector<at::Tensor> rows = Rows(lengths);
      const Ragged joined = layout.Join(rows);
      ASSERT_EQ(static_cast<int>(joined.size()), layout.n_parts());
      for (int part = 0; part < layout.n_parts(); ++part) {
        EXPECT_EQ(joined[static_cast<size_t>(part)].size(0), layout.part_rows(part));
      }
      const std::vector<at::Tensor> split = layout.Split(joined);
      ASSERT_EQ(split.size(), rows.size());
      for (size_t s = 0; s < rows.size(); ++s) {
        EXPECT_TRUE(at::equal(split[s], rows[s])) << s;
        EXPECT_TRUE(at::equal(layout.Rows(joined, static_cast<int>(s)), rows[s])) << s;
      }
    }
  }
}

TEST(Layout, ASequenceAloneInItsPartIsNotCopied) {
  const std::vector<at::Tensor> rows = Rows({3, 2});
  const Ragged reference = Layout({3, 2}, Numerics::kReference).Join(rows);
  EXPECT_TRUE(reference[0].is_same(rows[0]));
  EXPECT_TRUE(reference[1].is_same(rows[1]));
  const Layout alone({3}, Numerics::kFast);
  EXPECT_TRUE(alone.Rows(alone.Join({rows[0]}), 0).is_same(rows[0]));
}

TEST(Layout, IsUniformWhereAllLengthsAreEqual) {
  EXPECT_TRUE(Layout({4, 4, 4}, Numerics::kFast).IsUniform());
  EXPECT_TRUE(Layout({4}, Numerics::kFast).IsUniform());
  EXPECT_FALSE(Layout({4, 4, 3}, Numerics::kFast).IsUniform());
}

TEST(Map, GoesPartByPart) {
  const Layout layout({3, 2}, Numerics::kReference);
  const Ragged a = layout.Join(Rows({3, 2}));
  const Ragged doubled = Map(a, [](const at::Tensor& part) { return part * 2; });
  const Ragged zero =
      Map(doubled, a, [](const at::Tensor& x, const at::Tensor& y) { return x - y - y; });
  ASSERT_EQ(zero.size(), 2u);
  for (const at::Tensor& part : zero) EXPECT_EQ(part.abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace hookwire::model
