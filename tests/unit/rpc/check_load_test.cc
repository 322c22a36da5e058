// Requests that expect another load than the one that this server holds.

#include "server/rpc/check_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/unit/rpc/service_fixture.h"

namespace hookwire::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kLoaded[] = "0123456789abcdef0123456789abcdef";
constexpr char kOther[] = "ffffffffffffffffffffffffffffffff";

class CheckLoadTest : public ServiceTest {
 public:
  void SetUp() override {
    Settings settings;
    settings.load_id = kLoaded;
    settings.directory = directory_.path();
    directory_.Write("tokenizer.json", "{}");
    StartServer(settings);
  }

  static void ExpectRefused(const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(ReasonOf(status), "LOAD_CHANGED");
    EXPECT_THAT(status.error_message(), AllOf(HasSubstr("'tiny'"), HasSubstr(kLoaded),
                                              HasSubstr(kOther), HasSubstr("connect again")));
  }

  // How each method answers requests that expect `load_id`.
  grpc::Status ListHooks(const std::string& load_id) {
    v1::ListHooksRequest request;
    request.set_load_id(load_id);
    // Makes no sense on any model: the load is looked at first.
    if (load_id == kOther) request.add_filters("no.such.hook");
    grpc::ClientContext context;
    v1::ListHooksResponse response;
    return stub_->ListHooks(&context, request, &response);
  }
  grpc::Status Plan(const std::string& load_id) {
    v1::PlanRequest request;
    *request.mutable_spec() = SpecOf(load_id);
    grpc::ClientContext context;
    v1::PlanResponse response;
    return stub_->Plan(&context, request, &response);
  }
  grpc::Status RunOnce(const std::string& load_id) {
    v1::RunRequest request;
    *request.mutable_spec() = SpecOf(load_id);
    return Run(request).status;
  }
  grpc::Status Interact(const std::string& load_id) {
    grpc::ClientContext context;
    const auto stream = stub_->Interact(&context);
    v1::InteractRequest message;
    *message.mutable_spec() = SpecOf(load_id);
    stream->Write(message);
    stream->WritesDone();
    v1::RunResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  grpc::Status GetTokenizer(const std::string& load_id) {
    v1::GetTokenizerRequest request;
    request.set_load_id(load_id);
    grpc::ClientContext context;
    const auto reader = stub_->GetTokenizer(&context, request);
    v1::GetTokenizerResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  grpc::Status GetWeight(const std::string& load_id) {
    v1::GetWeightRequest request;
    request.set_load_id(load_id);
    request.set_name("ln_final.weight");
    grpc::ClientContext context;
    const auto reader = stub_->GetWeight(&context, request);
    v1::GetWeightResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }

  void ExpectEachMethodChecks(grpc::Status (CheckLoadTest::*method)(const std::string&)) {
    ExpectRefused((this->*method)(kOther));
    EXPECT_TRUE((this->*method)(kLoaded).ok());
    EXPECT_TRUE((this->*method)("").ok());
  }

 private:
  static v1::RunSpec SpecOf(const std::string& load_id) {
    v1::RunSpec spec = GoodRequest().spec();
    spec.set_load_id(load_id);
    if (load_id == kOther) spec.mutable_captures(0)->set_hook("no.such.hook");
    return spec;
  }

  const hookwire::testing::TempDirectory directory_;
};

TEST_F(CheckLoadTest, GetModelTellsTheLoad) {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  ASSERT_TRUE(stub_->GetModel(&context, {}, &response).ok());
  EXPECT_EQ(response.server().load_id(), kLoaded);
}

TEST_F(CheckLoadTest, ListHooks) { ExpectEachMethodChecks(&CheckLoadTest::ListHooks); }
TEST_F(CheckLoadTest, Plan) { ExpectEachMethodChecks(&CheckLoadTest::Plan); }
TEST_F(CheckLoadTest, Run) { ExpectEachMethodChecks(&CheckLoadTest::RunOnce); }
TEST_F(CheckLoadTest, Interact) { ExpectEachMethodChecks(&CheckLoadTest::Interact); }
TEST_F(CheckLoadTest, GetTokenizer) { ExpectEachMethodChecks(&CheckLoadTest::GetTokenizer); }
TEST_F(CheckLoadTest, GetWeight) { ExpectEachMethodChecks(&CheckLoadTest::GetWeight); }

}  // namespace
}  // namespace hookwire::server
