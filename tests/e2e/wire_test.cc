// Requests that no good client sends: fields from the future, garbage, too much at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "hookwire/v1/service.pb.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/raw_call.h"
#include "tests/e2e/support/tcp_proxy.h"

namespace hookwire::e2e {
namespace {

using google::protobuf::Message;
using google::protobuf::UnknownFieldSet;
using ::testing::AnyOf;
using ::testing::StartsWith;

const std::string kService = "/hookwire.v1.ActivationService/";

class Wire : public DaemonTest<Fast> {
 protected:
  RawAnswer Call(const std::string& method, const std::string& request) const {
    return CallRaw(OpenChannel(daemon().address()), kService + method, request);
  }
};

struct Place {
  std::string path;
  Message* message;
};

// Every message inside `message`, itself first, with its path.
void Walk(Message& message, const std::string& path, std::vector<Place>& places) {
  places.push_back({path, &message});
  const auto& reflection = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string here = path.empty() ? field->name() : absl::StrCat(path, ".", field->name());
    if (!field->is_repeated()) {
      Walk(*reflection.MutableMessage(&message, field), here, places);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      Walk(*reflection.MutableRepeatedMessage(&message, field, i), absl::StrCat(here, "[", i, "]"),
           places);
    }
  }
}

TEST_F(Wire, TheRequestWithEveryMessageIsGood) {
  EXPECT_THAT(StatusOf(client().Collect(FullRequest().spec())), IsOk());
}

TEST_F(Wire, RefusesUnknownFieldsAnywhereInARequest) {
  const std::vector<std::function<void(UnknownFieldSet&)>> unknown = {
      [](UnknownFieldSet& fields) { fields.AddVarint(1000, 1); },
      [](UnknownFieldSet& fields) { fields.AddLengthDelimited(1001, "mean"); },
      [](UnknownFieldSet& fields) { fields.AddGroup(1002); },
  };
  v1::RunRequest request = FullRequest();
  std::vector<Place> places;
  Walk(request, "", places);
  ASSERT_GT(places.size(), 25U);
  size_t kind = 0;
  for (const Place& place : places) {
    SCOPED_TRACE(place.path);
    UnknownFieldSet& fields = *place.message->GetReflection()->MutableUnknownFields(place.message);
    unknown[kind++ % unknown.size()](fields);
    // PlanRequest has the same fields as RunRequest.
    for (const char* method : {"Run", "Plan"}) {
      const absl::Status status = Call(method, request.SerializeAsString()).status;
      EXPECT_THAT(status,
                  IsError(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_UNKNOWN_FIELD));
      if (const auto detail = client::DetailOf(status)) {
        EXPECT_THAT(detail->field, StartsWith(place.path));
        EXPECT_EQ(detail->metadata.count("field"), 1U);
      }
    }
    fields.Clear();
  }
  ExpectGoodRunWorks();
}

TEST_F(Wire, RefusesUnknownFieldsOfEveryMethod) {
  for (const char* method :
       {"GetModel", "ListHooks", "GetTokenizer", "GetWeight", "Plan", "Run", "Interact"}) {
    SCOPED_TRACE(method);
    EXPECT_THAT(Call(method, "\xf8\x07\x01").status,  // field 127
                IsError(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_UNKNOWN_FIELD));
  }
}

TEST_F(Wire, AKnownFieldOfAnotherTypeIsNotKnown) {
  // RunSpec.allow_non_finite as a string.
  EXPECT_THAT(Call("Run", std::string("\x0a\x03\x32\x01x", 5)).status,
              IsError(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_UNKNOWN_FIELD));
}

TEST_F(Wire, RefusesGarbage) {
  const std::string good = FullRequest().SerializeAsString();
  std::string random(5000, '\0');
  uint32_t state = 7;
  for (char& byte : random)
    byte = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U);
  v1::RunRequest not_text = FullRequest();
  std::string bad_utf8 = not_text.SerializeAsString();
  bad_utf8[bad_utf8.find("blocks")] = '\xff';
  const std::vector<std::string> garbage = {
      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",  // a varint without end
      std::string("\x0a\xff\xff\xff\xff\x0f", 6),      // a length of 4 GiB
      std::string("\x0a\x05\x0a", 3),                  // a length beyond the end
      std::string("\x00\x00", 2),                      // field 0
      "\x0c",                                          // the end of a group that never began
      "GET / HTTP/1.1\r\n\r\n",
      good.substr(0, good.size() - 1),
      random,
      bad_utf8,
  };
  for (size_t i = 0; i < garbage.size(); ++i) {
    for (const char* method : {"Run", "Plan", "Interact"}) {
      SCOPED_TRACE(absl::StrCat("garbage ", i, ", ", method));
      EXPECT_THAT(Call(method, garbage[i]).status,
                  IsError(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_MALFORMED_REQUEST));
    }
    ExpectGoodRunWorks();
  }
  for (const char* method : {"GetModel", "ListHooks", "GetTokenizer", "GetWeight"}) {
    SCOPED_TRACE(method);
    EXPECT_THAT(Call(method, garbage[0]).status,
                IsError(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_MALFORMED_REQUEST));
  }
}

TEST_F(Wire, RefusesARequestWithoutASpec) {
  for (const char* method : {"Run", "Plan"}) {
    SCOPED_TRACE(method);
    const absl::Status status = Call(method, "").status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    const auto detail = client::DetailOf(status);
    ASSERT_TRUE(detail);
    EXPECT_THAT(detail->reason, AnyOf(v1::ERROR_REASON_BAD_FIELD, v1::ERROR_REASON_NO_SEQUENCES));
  }
}

TEST_F(Wire, RefusesNestingWithoutEnd) {
  std::string nested;
  for (int i = 0; i < 20'000; ++i) nested += '\x0b';  // groups of field 1
  EXPECT_THAT(Call("Run", nested).status,
              IsError(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_MALFORMED_REQUEST));
}

// Sets attention patterns, [4, 128, 128] float32 or 256 KiB each.
v1::RunSpec LargeSpec(int values) {
  v1::RunSpec spec = SpecOf({LongPrompt(128)});
  const std::vector<float> pattern(size_t{4} * 128 * 128, 0.0078125F);
  for (int i = 0; i < values; ++i) {
    *spec.add_interventions() =
        client::Set("blocks.1.attn.hook_pattern", client::Float32(pattern, {4, 128, 128}));
  }
  *spec.mutable_outputs()->mutable_logits()->mutable_positions() = client::At(-1);
  return spec;
}

TEST_F(Wire, TakesRequestsOfNearlyFourMebibytes) {
  ASSERT_GT(LargeSpec(15).ByteSizeLong(), 3'900'000U);
  EXPECT_THAT(StatusOf(client().Collect(LargeSpec(15))), IsOk());
}

TEST_F(Wire, RefusesRequestsOverFourMebibytes) {
  for (const int values : {16, 200}) {
    const v1::RunSpec spec = LargeSpec(values);
    ASSERT_GT(spec.ByteSizeLong(), 4U << 20U);
    EXPECT_THAT(StatusOf(client().Collect(spec)), HasCode(absl::StatusCode::kResourceExhausted));
    EXPECT_THAT(StatusOf(client().Plan(spec)), HasCode(absl::StatusCode::kResourceExhausted));
    ExpectGoodRunWorks();
  }
}

TEST_F(Wire, SaysThatAMethodIsUnknown) {
  EXPECT_THAT(Call("Generate", "").status, HasCode(absl::StatusCode::kUnimplemented));
}

TEST_F(Wire, OutlivesWhatIsNoGrpcAtAll) {
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        std::string("\x16\x03\x01\x02\x00", 5), preface + std::string(10'000, '\xff'),
        preface + std::string(10'000, '\0'), std::string(100'000, 'x')}) {
    SendBytes(daemon().port(), bytes, 200);
    ExpectGoodRunWorks();
  }
}

}  // namespace
}  // namespace hookwire::e2e
