// The client against a server that says what a test tells it to: no partial answer looks whole.

#include "hookwire/client.h"

#include <gmock/gmock.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "hookwire/v1/service.grpc.pb.h"
#include "tests/e2e/support/events.h"
#include "tests/e2e/support/matchers.h"

namespace hookwire::e2e {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Events = std::vector<v1::RunResponse>;

// Answers GetModel, and every run with the same events and status.
class FakeServer : public v1::ActivationService::Service {
 public:
  explicit FakeServer(Events events = {}, grpc::Status status = grpc::Status::OK)
      : events_(std::move(events)), status_(std::move(status)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  std::unique_ptr<client::Client> Connect() const { return *client::Client::Connect(address()); }

  grpc::Status GetModel(grpc::ServerContext* /*context*/, const v1::GetModelRequest* /*request*/,
                        v1::GetModelResponse* response) override {
    response->mutable_model()->set_name("fake");
    return grpc::Status::OK;
  }

  grpc::Status Run(grpc::ServerContext* /*context*/, const v1::RunRequest* /*request*/,
                   grpc::ServerWriter<v1::RunResponse>* writer) override {
    for (const v1::RunResponse& event : events_) writer->Write(event);
    return status_;
  }

 private:
  const Events events_;
  const grpc::Status status_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(Client, CollectsTensorsThatInterleave) {
  FakeServer server({Accepted(), Chunk(1, 0, kSecond.substr(0, 5)),
                     Chunk(0, 0, kFirst.substr(0, 3)), Chunk(1, 5, kSecond.substr(5)),
                     Chunk(0, 3, kFirst.substr(3)), Receipt()});
  auto result = server.Connect()->Collect({});
  ASSERT_THAT(StatusOf(result), IsOk());
  ASSERT_EQ(result->tensors.size(), 2U);
  EXPECT_THAT(result->tensors[0].ToDoubles(), ElementsAre(1, 2));
  EXPECT_THAT(result->tensors[0].shape(), ElementsAre(2));
  EXPECT_THAT(result->tensors[1].ToDoubles(), ElementsAre(3, 4, 5));
  EXPECT_EQ(result->Find("blocks.0.hook_in", 1), &result->tensors[1]);
  EXPECT_EQ(result->Find("blocks.0.hook_resid_pre", 0), &result->tensors[0]);
  EXPECT_EQ(result->Find("blocks.0.hook_resid_pre", 2), nullptr);
  EXPECT_EQ(result->Find("logits", 0), nullptr);
}

TEST(Client, HandsEachTensorOverBeforeTheReceipt) {
  FakeServer server({Accepted(), Chunk(1, 0, kSecond), Chunk(0, 0, kFirst), Receipt()});
  std::vector<uint32_t> order;
  auto receipt = server.Connect()->Run({}, [&](const client::Tensor& tensor) {
    order.push_back(tensor.index());
    return absl::OkStatus();
  });
  EXPECT_THAT(StatusOf(receipt), IsOk());
  EXPECT_THAT(order, ElementsAre(1, 0));
}

// The same run, with no element in the first tensor.
v1::RunResponse AcceptedWithoutFirst() {
  v1::RunResponse event = Accepted();
  v1::Plan& plan = *event.mutable_accepted()->mutable_plan();
  plan.mutable_groups(0)->mutable_tensors(0)->set_shape(0, 0);
  plan.set_total_bytes(12);
  return event;
}

TEST(Client, GivesATensorWithoutElementsToo) {
  for (const bool with_chunk : {false, true}) {
    Events events = {AcceptedWithoutFirst(), Chunk(1, 0, kSecond)};
    if (with_chunk) events.push_back(Chunk(0, 0, ""));
    events.push_back(Receipt(2, 12));
    FakeServer server(events);
    auto result = server.Connect()->Collect({});
    ASSERT_THAT(StatusOf(result), IsOk());
    EXPECT_EQ(result->tensors[0].size(), 0U);
    EXPECT_THAT(result->tensors[0].shape(), ElementsAre(0));
  }
}

TEST(Client, IgnoresFieldsAndEventsThatItDoesNotKnow) {
  const auto with_unknown = [](v1::RunResponse event) {
    event.GetReflection()->MutableUnknownFields(&event)->AddLengthDelimited(99, "later");
    if (event.has_tensors()) {
      v1::TensorChunk& chunk = *event.mutable_tensors()->mutable_chunks(0);
      chunk.GetReflection()->MutableUnknownFields(&chunk)->AddVarint(77, 1);
      chunk.GetReflection()->MutableUnknownFields(&chunk)->AddFixed32(78, 1);
    }
    return event;
  };
  FakeServer server({with_unknown({}), with_unknown(Accepted()), with_unknown(Chunk(0, 0, kFirst)),
                     with_unknown({}), with_unknown(Chunk(1, 0, kSecond)),
                     with_unknown(Receipt())});
  EXPECT_THAT(StatusOf(server.Connect()->Collect({})), IsOk());
}

struct BrokenStream {
  std::string what;
  Events events;
};

TEST(Client, SaysDataLossWhereTheStreamIsNotWhatThePlanSaid) {
  v1::RunResponse overflow = Accepted();
  overflow.mutable_accepted()->mutable_plan()->mutable_groups(0)->mutable_tensors(0)->set_shape(
      0, std::numeric_limits<uint64_t>::max() / 2);
  v1::RunResponse wrong_total = Accepted();
  wrong_total.mutable_accepted()->mutable_plan()->set_total_bytes(24);
  const v1::RunResponse empty = AcceptedWithoutFirst();
  const auto first = Chunk(0, 0, kFirst);
  const auto second = Chunk(1, 0, kSecond);
  const std::vector<BrokenStream> streams = {
      {"nothing", {}},
      {"no receipt", {Accepted(), first, second}},
      {"no second tensor", {Accepted(), first, Receipt()}},
      {"no end of the second tensor",
       {Accepted(), first, Chunk(1, 0, kSecond.substr(0, 11)), Receipt()}},
      {"a gap", {Accepted(), first, Chunk(1, 4, kSecond.substr(4)), Receipt()}},
      {"an overlap",
       {Accepted(), first, Chunk(1, 0, kSecond.substr(0, 8)), Chunk(1, 4, kSecond.substr(4)),
        Receipt()}},
      {"a piece in the wrong place",
       {Accepted(), first, Chunk(1, 0, kSecond.substr(0, 8)), Chunk(1, 4, kSecond.substr(8)),
        Receipt()}},
      {"the same tensor twice", {Accepted(), first, first, second, Receipt()}},
      {"bytes beyond the tensor", {Accepted(), first, Chunk(1, 0, kSecond + "x"), Receipt()}},
      {"a tensor that is not planned", {Accepted(), first, second, Chunk(2, 0, "x"), Receipt()}},
      {"a tensor before the plan", {first, Accepted(), second, Receipt()}},
      {"a tensor after the receipt", {Accepted(), first, second, Receipt(), first}},
      {"a receipt before the plan", {Receipt()}},
      {"two plans", {Accepted(), first, Accepted(), second, Receipt()}},
      {"two receipts", {Accepted(), first, second, Receipt(), Receipt()}},
      {"a receipt of fewer tensors", {Accepted(), first, second, Receipt(1, 20)}},
      {"a receipt of fewer bytes", {Accepted(), first, second, Receipt(2, 8)}},
      {"sizes that overflow", {overflow, Receipt()}},
      {"a total that is not the sum", {wrong_total, first, second, Receipt(2, 24)}},
      {"a tensor without elements twice",
       {empty, Chunk(0, 0, ""), Chunk(0, 0, ""), second, Receipt(2, 12)}},
  };
  for (const BrokenStream& stream : streams) {
    SCOPED_TRACE(stream.what);
    FakeServer server(stream.events);
    EXPECT_THAT(StatusOf(server.Connect()->Collect({})), HasCode(absl::StatusCode::kDataLoss));
  }
}

TEST(Client, RefusesADtypeThatItDoesNotKnow) {
  v1::RunResponse accepted = Accepted();
  accepted.mutable_accepted()->mutable_plan()->mutable_groups(0)->set_dtype(
      static_cast<v1::Dtype>(99));
  FakeServer server({accepted, Receipt()});
  EXPECT_THAT(StatusOf(server.Connect()->Collect({})), HasCode(absl::StatusCode::kUnimplemented));
}

TEST(Client, SaysSoWhereThereIsNoMemoryForATensor) {
  v1::RunResponse accepted = Accepted();
  const uint64_t elements = uint64_t{1} << 55U;
  accepted.mutable_accepted()->mutable_plan()->mutable_groups(0)->mutable_tensors(1)->set_shape(
      0, elements);
  accepted.mutable_accepted()->mutable_plan()->set_total_bytes(8 + 4 * elements);
  FakeServer server({accepted, Chunk(1, 0, "x")});
  EXPECT_THAT(StatusOf(server.Connect()->Collect({})),
              HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(Client, AnErrorAfterAllTensorsIsAnError) {
  FakeServer server({Accepted(), Chunk(0, 0, kFirst), Chunk(1, 0, kSecond), Receipt()},
                    grpc::Status(grpc::StatusCode::INTERNAL, "the pass failed"));
  const auto result = server.Connect()->Collect({});
  EXPECT_THAT(StatusOf(result), HasCode(absl::StatusCode::kInternal));
  EXPECT_EQ(result.status().message(), "the pass failed");
}

TEST(Client, ReturnsTheStatusOfACallbackUnchanged) {
  FakeServer server({Accepted(), Chunk(0, 0, kFirst), Chunk(1, 0, kSecond), Receipt()});
  const auto connected = server.Connect();
  const absl::Status enough = absl::AbortedError("enough");
  int tensors = 0;
  const auto stop = [&](const client::Tensor&) -> absl::Status {
    ++tensors;
    return absl::AbortedError("enough");
  };
  EXPECT_EQ(connected->Run({}, stop).status(), enough);
  EXPECT_EQ(tensors, 1);

  client::RunOptions options;
  options.on_accepted = [](const v1::Accepted&) { return absl::AbortedError("enough"); };
  EXPECT_EQ(connected->Run({}, stop, options).status(), enough);
  EXPECT_EQ(connected->Collect({}, options).status(), enough);
  EXPECT_EQ(tensors, 1);
}

TEST(Client, ReadsTheDetailsOfAnError) {
  google::rpc::ErrorInfo info;
  info.set_domain("hookwire");
  info.set_reason("HOOK_NOT_FOUND");
  (*info.mutable_metadata())["hook"] = "blocks.0.hook_rsid_pre";
  (*info.mutable_metadata())["suggestion"] = "blocks.0.hook_resid_pre";
  google::rpc::BadRequest bad_request;
  bad_request.add_field_violations()->set_field("spec.captures[0].hook");
  google::rpc::Status details;
  details.add_details()->PackFrom(bad_request);
  details.add_details()->PackFrom(info);
  FakeServer server({}, grpc::Status(grpc::StatusCode::NOT_FOUND, "no such hook point",
                                     details.SerializeAsString()));
  const auto result = server.Connect()->Collect({});
  ASSERT_THAT(StatusOf(result),
              IsError(absl::StatusCode::kNotFound, v1::ERROR_REASON_HOOK_NOT_FOUND));
  EXPECT_EQ(result.status().message(), "no such hook point");
  const auto detail = client::DetailOf(result.status());
  EXPECT_EQ(detail->reason_name, "HOOK_NOT_FOUND");
  EXPECT_EQ(detail->hook, "blocks.0.hook_rsid_pre");
  EXPECT_EQ(detail->suggestion, "blocks.0.hook_resid_pre");
  EXPECT_EQ(detail->field, "spec.captures[0].hook");
  EXPECT_EQ(detail->metadata.size(), 2U);
}

TEST(Client, KeepsAReasonThatItDoesNotKnow) {
  google::rpc::ErrorInfo info;
  info.set_reason("FROM_THE_FUTURE");
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  FakeServer server({}, grpc::Status(grpc::StatusCode::INTERNAL, "?", details.SerializeAsString()));
  const auto detail = client::DetailOf(server.Connect()->Collect({}).status());
  ASSERT_TRUE(detail);
  EXPECT_EQ(detail->reason, v1::ERROR_REASON_UNSPECIFIED);
  EXPECT_EQ(detail->reason_name, "FROM_THE_FUTURE");
}

TEST(Client, HasNoDetailWhereTheServerSentNone) {
  EXPECT_FALSE(client::DetailOf(absl::OkStatus()));
  EXPECT_FALSE(client::DetailOf(absl::DataLossError("")));
  FakeServer server({}, grpc::Status(grpc::StatusCode::INTERNAL, "?", "not a google.rpc.Status"));
  EXPECT_FALSE(client::DetailOf(server.Connect()->Collect({}).status()));
}

TEST(Client, SaysWhereNobodyAnswers) {
  std::string address;
  {
    FakeServer server;
    address = server.address();
  }
  const auto connected = client::Client::Connect(address);
  EXPECT_THAT(StatusOf(connected), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(connected.status().message()), HasSubstr(address));
}

TEST(Client, RefusesMessageSizesThatCannotWork) {
  FakeServer server;
  for (const uint32_t bytes : {0U, 1U << 20U, (1U << 30U) + 1}) {
    EXPECT_THAT(StatusOf(client::Client::Connect(server.address(), {.max_message_bytes = bytes})),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
  v1::RunSpec spec;
  spec.set_max_message_bytes((64U << 20U) + 1);
  EXPECT_THAT(StatusOf(server.Connect()->Collect(spec)),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace hookwire::e2e
