#include "server/observe/load_id.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>

#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

using hookwire::testing::TempDirectory;

class LoadIdTest : public ::testing::Test {
 protected:
  LoadIdTest() : weights_(directory_.Write("model.safetensors", "12345678")) {}

  model::FileStamp Stamp() const {
    const int fd = open(weights_.c_str(), O_RDONLY | O_CLOEXEC);
    model::FileStamp stamp = model::FileStamp::Of(fd).value();
    close(fd);
    return stamp;
  }
  LoadIngredients Ingredients() const {
    return {.name = "toy",
            .weights = {Stamp()},
            .small_files = {{"config.json", "{}"}},
            .settings = {"float32", "fast", "cpu", "hookwired 0.1.0"}};
  }
  std::string Id() const { return LoadId(Ingredients()).value(); }

  const TempDirectory directory_;
  const std::string weights_;
};

TEST_F(LoadIdTest, IsTheSameForASecondStartOnTheSameFiles) {
  const std::string id = Id();
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(Id(), id);
}

TEST_F(LoadIdTest, IsAnotherForWeightsOfEqualSizeAndTime) {
  const std::string id = Id();
  const absl::Time modified = Stamp().modified;
  // A later change time needs a clock that has ticked.
  while (Stamp().changed <= modified) {
    directory_.Write("model.safetensors", "87654321");
    const timespec time = absl::ToTimespec(modified);
    const timespec times[2] = {time, time};
    ASSERT_EQ(utimensat(AT_FDCWD, weights_.c_str(), times, 0), 0);
  }
  ASSERT_EQ(Stamp().modified, modified);
  EXPECT_NE(Id(), id);
}

TEST_F(LoadIdTest, ChangesWithEveryIngredient) {
  std::set<std::string> ids = {Id()};
  const auto expect_new = [&](const std::string& what, const LoadIngredients& ingredients) {
    EXPECT_TRUE(ids.insert(LoadId(ingredients).value()).second) << what;
  };
  LoadIngredients changed = Ingredients();
  changed.name = "toy-2";
  expect_new("name", changed);
  for (size_t i = 0; i < Ingredients().settings.size(); ++i) {
    changed = Ingredients();
    changed.settings[i] += "x";
    expect_new("setting " + changed.settings[i], changed);
  }
  changed = Ingredients();
  ++changed.weights[0].inode;
  expect_new("another file", changed);
  changed = Ingredients();
  changed.weights.push_back(changed.weights[0]);
  expect_new("one more file", changed);
  changed = Ingredients();
  changed.small_files.emplace_back("tokenizer.json", "");
  expect_new("an empty tokenizer in place of none", changed);
  changed.small_files.back().second = "{}";
  expect_new("a tokenizer", changed);
  changed.small_files.back().first = "tokenizer_config.json";
  expect_new("another file with the same content", changed);
  changed = Ingredients();
  changed.small_files[0].second = "{ }";
  expect_new("config", changed);
}

TEST_F(LoadIdTest, TextsThatMoveBetweenFilesAreSeen) {
  LoadIngredients one = Ingredients();
  LoadIngredients other = one;
  one.settings = {"ab", "c"};
  other.settings = {"a", "bc"};
  EXPECT_NE(LoadId(one).value(), LoadId(other).value());
  other = one;
  other.small_files.pop_back();
  other.settings = {"config.json", "{}", "ab", "c"};
  EXPECT_NE(LoadId(one).value(), LoadId(other).value()) << "a file is no setting";
}

}  // namespace
}  // namespace hookwire::server
