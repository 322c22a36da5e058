// The service over a socket: answers, errors, and that nothing is broken after them.

#include "server/rpc/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/errors/errors.h"
#include "tests/unit/rpc/service_fixture.h"

namespace hookwire::server {
namespace {

TEST_F(ServiceTest, GetModelDescribesModelAndWeights) {
  StartServer({});
  grpc::ClientContext context;
  v1::GetModelResponse response;
  ASSERT_TRUE(stub_->GetModel(&context, {}, &response).ok());
  EXPECT_EQ(response.model().name(), "tiny");
  EXPECT_EQ(response.model().n_layers(), 6u);
  EXPECT_EQ(response.model().weights_digest(), "sha256:00");
}

TEST_F(ServiceTest, ListHooksGivesAllInTheOrderOfThePass) {
  StartServer({});
  grpc::ClientContext context;
  v1::ListHooksResponse response;
  ASSERT_TRUE(stub_->ListHooks(&context, {}, &response).ok());
  ASSERT_EQ(response.hooks_size(), parts_->model.catalogue().size());
  EXPECT_EQ(response.hooks(0).name(), "embed.hook_in");
  EXPECT_EQ(response.hooks(response.hooks_size() - 1).name(), "hook_logits");
}

TEST_F(ServiceTest, ListHooksTakesNamesAliasesAndGlobs) {
  StartServer({});
  grpc::ClientContext context;
  v1::ListHooksRequest request;
  request.add_filters("hook_logits");
  request.add_filters("blocks.*.hook_in");
  request.add_filters("blocks.1.hook_resid_pre");
  v1::ListHooksResponse response;
  ASSERT_TRUE(stub_->ListHooks(&context, request, &response).ok());
  std::vector<std::string> names;
  for (const auto& hook : response.hooks()) names.push_back(hook.name());
  EXPECT_THAT(names, ::testing::ElementsAre("blocks.0.hook_in", "blocks.1.hook_in",
                                            "blocks.2.hook_in", "blocks.3.hook_in",
                                            "blocks.4.hook_in", "blocks.5.hook_in", "hook_logits"));
}

TEST_F(ServiceTest, ListHooksBlamesTheFilter) {
  StartServer({});
  grpc::ClientContext context;
  v1::ListHooksRequest request;
  request.add_filters("hook_logits");
  request.add_filters("blocks.0.hook_ou");
  v1::ListHooksResponse response;
  const grpc::Status status = stub_->ListHooks(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "HOOK_NOT_FOUND");
  EXPECT_THAT(status.error_details(), ::testing::HasSubstr("filters[1]"));
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("blocks.0.hook_out"));
}

TEST_F(ServiceTest, ARunSendsExactlyWhatItsPlanSays) {
  StartServer({});
  const Result result = Run(GoodRequest());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();

  grpc::ClientContext context;
  v1::PlanRequest request;
  *request.mutable_spec() = GoodRequest().spec();
  v1::PlanResponse planned;
  ASSERT_TRUE(stub_->Plan(&context, request, &planned).ok());
  EXPECT_EQ(planned.plan().SerializeAsString(), result.accepted.plan().SerializeAsString());

  uint64_t bytes = 0;
  for (const auto& [index, data] : result.tensors) bytes += data.size();
  EXPECT_EQ(bytes, planned.plan().total_bytes());
  EXPECT_EQ(result.tensors.size(), 6u);
  EXPECT_EQ(result.receipt.run_id(), result.accepted.run_id());
  EXPECT_EQ(result.receipt.tensors(), 6u);
  EXPECT_EQ(result.receipt.bytes(), bytes);
  EXPECT_EQ(result.receipt.batch_sequences(), 1u);
  EXPECT_EQ(result.receipt.batch_tokens(), 3u);
  EXPECT_EQ(result.receipt.n_layers_run(), 6u);
  EXPECT_GT(result.receipt.compute_us(), 0u);
}

TEST_F(ServiceTest, EverythingOfASmallModelIsAHandfulOfMessages) {
  StartServer({});
  v1::RunRequest request = GoodRequest();
  request.mutable_spec()->mutable_captures(0)->set_hook("**");
  const Result result = Run(request);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_GT(result.tensors.size(), 300u);
  // One a millisecond at most, and slow machines take a few of these.
  EXPECT_LT(result.messages, static_cast<int>(result.tensors.size()) / 3);
}

TEST_F(ServiceTest, RunsHaveIdsOfTheirOwn) {
  StartServer({});
  EXPECT_NE(Run(GoodRequest()).accepted.run_id(), Run(GoodRequest()).accepted.run_id());
}

TEST_F(ServiceTest, BytesThatAreNoMessageAreRefusedByEveryMethod) {
  StartServer({});
  for (const char* method :
       {"GetModel", "ListHooks", "GetTokenizer", "GetWeight", "Plan", "Run", "Interact"}) {
    for (const std::string& bytes :
         {std::string("\xff\xff\xff\xff\xff\xff"), std::string("\x0a\x7fshort")}) {
      const auto [status, answer] =
          CallRaw(std::string("/hookwire.v1.ActivationService/") + method, bytes);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
      EXPECT_EQ(ReasonOf(status), "MALFORMED_REQUEST") << method;
      EXPECT_EQ(answer, "");
    }
  }
  ExpectThatAGoodRunWorks();
}

TEST_F(ServiceTest, FieldsOfTheFutureAreRefusedByEveryMethod) {
  StartServer({});
  for (const char* method :
       {"GetModel", "ListHooks", "GetTokenizer", "GetWeight", "Plan", "Run", "Interact"}) {
    // Field 100 as a varint.
    const auto [status, answer] =
        CallRaw(std::string("/hookwire.v1.ActivationService/") + method, "\xa0\x06\x01");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_EQ(ReasonOf(status), "UNKNOWN_FIELD") << method;
  }
  // Deep inside: captures[0], field 100.
  v1::RunRequest request = GoodRequest();
  request.mutable_spec()
      ->mutable_captures(0)
      ->GetReflection()
      ->MutableUnknownFields(request.mutable_spec()->mutable_captures(0))
      ->AddVarint(100, 1);
  EXPECT_EQ(ReasonOf(Run(request).status), "UNKNOWN_FIELD");
  ExpectThatAGoodRunWorks();
}

TEST_F(ServiceTest, ARequestThatIsTooLargeIsRefused) {
  StartServer({});
  v1::RunRequest request = GoodRequest();
  request.mutable_spec()->mutable_captures(0)->set_hook(std::string(kMaxRequestBytes + 1, 'x'));
  EXPECT_EQ(Run(request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  ExpectThatAGoodRunWorks();
}

TEST_F(ServiceTest, AnErrorOfThePlanEndsTheRunBeforeItIsAccepted) {
  StartServer({});
  v1::RunRequest request = GoodRequest();
  request.mutable_spec()->clear_sequences();
  const Result result = Run(request);
  EXPECT_EQ(ReasonOf(result.status), "NO_SEQUENCES");
  EXPECT_EQ(result.messages, 0);
  ExpectThatAGoodRunWorks();
}

TEST_F(ServiceTest, HealthSpeaksForTheServerAndForTheService) {
  StartServer({});
  // HealthCheckResponse{status: SERVING} and {status: NOT_SERVING}.
  const std::string serving = "\x08\x01";
  const std::string not_serving = "\x08\x02";
  const std::string name = v1::ActivationService::service_full_name();
  const std::string own = "\x0a" + std::string(1, static_cast<char>(name.size())) + name;
  EXPECT_EQ(CallRaw("/grpc.health.v1.Health/Check", "").second, serving);
  EXPECT_EQ(CallRaw("/grpc.health.v1.Health/Check", own).second, serving);
  parts_->rpc->SetServing(false);
  EXPECT_EQ(CallRaw("/grpc.health.v1.Health/Check", "").second, not_serving);
  EXPECT_EQ(CallRaw("/grpc.health.v1.Health/Check", own).second, not_serving);
}

TEST_F(ServiceTest, ReflectionKnowsTheService) {
  StartServer({});
  // ServerReflectionRequest{list_services: ""}.
  const auto [status, answer] = CallRaw(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x00", 2));
  EXPECT_THAT(answer, ::testing::HasSubstr("hookwire.v1.ActivationService"));
}

TEST_F(ServiceTest, ASecondServerCannotShareThePort) {
  StartServer({});
  const auto second = RpcServer::Start(parts_->backend, parts_->rpc->address());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  ExpectThatAGoodRunWorks();
}

}  // namespace
}  // namespace hookwire::server
