// The base of tests that share one daemon.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_DAEMON_TEST_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_DAEMON_TEST_H_

#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/support/daemon.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/prompts.h"
#include "tests/e2e/support/slices.h"

namespace hookwire::e2e {

// One daemon a suite, started with Numerics::kArguments, and one connection to it a test. After
// each test the same good request must give the same bits as before it.
template <typename Arguments>
class DaemonTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = Daemon::Start(Arguments::Get()).release();
    good_ = new Bits(GoodAnswer().value());
  }
  static void TearDownTestSuite() {
    delete daemon_;
    delete good_;
  }

  void SetUp() override { client_ = daemon().Connect(); }
  void TearDown() override {
    ExpectGoodRunWorks();
    if (HasFailure()) std::cerr << "--- hookwired said\n" << daemon().process().Errors();
  }

  static Daemon& daemon() { return *daemon_; }
  const client::Client& client() const { return *client_; }
  const v1::Model& model() const {
    static const auto* const kModel = new v1::Model(client_->GetModel()->model());
    return *kModel;
  }

  // Over a connection of its own, so that it says something about the server.
  static void ExpectGoodRunWorks() {
    const auto answer = GoodAnswer();
    EXPECT_THAT(StatusOf(answer), IsOk());
    if (answer.ok()) {
      EXPECT_EQ(*answer, *good_);
    }
  }

 private:
  static absl::StatusOr<Bits> GoodAnswer() {
    auto connected = client::Client::Connect(daemon_->address());
    if (!connected.ok()) return connected.status();
    const auto result = (*connected)->Collect(GoodSpec(), {.timeout = absl::Seconds(60)});
    if (!result.ok()) return result.status();
    return BytesOf(*result);
  }

  static inline Daemon* daemon_ = nullptr;
  static inline Bits* good_ = nullptr;
  std::unique_ptr<client::Client> client_;
};

struct Fast {
  static std::vector<std::string> Get() { return {}; }
};
struct Reference {
  static std::vector<std::string> Get() { return {"--numerics", "reference"}; }
};

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_DAEMON_TEST_H_
