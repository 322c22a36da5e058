// Runs whose client answers, over a loopback socket.

#include "server/rpc/interact_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/rpc/service_fixture.h"

namespace hookwire::server {
namespace {

using ::testing::HasSubstr;

class InteractCallTest : public ServiceTest {
 protected:
  void SetUp() override { StartServer({}); }

  // Two sequences, an intervention at the first layer's output, and logits.
  static v1::RunSpec SpecWith(const v1::Intervention& intervention) {
    v1::RunSpec spec;
    for (const std::vector<uint32_t>& ids : {std::vector<uint32_t>{2, 5, 7}, {3, 4}}) {
      v1::Sequence& sequence = *spec.add_sequences();
      for (const uint32_t id : ids) sequence.add_token_ids(id);
    }
    *spec.add_interventions() = intervention;
    spec.mutable_outputs()->mutable_logits();
    return spec;
  }
  static v1::Intervention At(const std::string& hook) {
    v1::Intervention intervention;
    intervention.set_hook(hook);
    return intervention;
  }
  static v1::Intervention Callback(bool read_only = false) {
    v1::Intervention intervention = At("blocks.0.hook_out");
    intervention.mutable_callback()->set_read_only(read_only);
    return intervention;
  }
  static v1::InteractRequest Message(const v1::RunSpec& spec) {
    v1::InteractRequest message;
    *message.mutable_spec() = spec;
    return message;
  }

  using Stream = grpc::ClientReaderWriter<v1::InteractRequest, v1::RunResponse>;

  // A call, and what has come of it.
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<Stream> stream;
    Result result;
    // Callback tensors by number, and their sizes.
    std::map<uint32_t, uint64_t> asked;

    // Reads until all callback tensors are whole.
    void ReadQuestion() {
      v1::RunResponse response;
      while (!HasQuestion() && stream->Read(&response)) Note(response);
    }
    void ReadToEnd() {
      v1::RunResponse response;
      while (stream->Read(&response)) Note(response);
      result.status = stream->Finish();
    }
    bool HasQuestion() const {
      if (asked.empty()) return false;
      for (const auto& [index, bytes] : asked) {
        const auto found = result.tensors.find(index);
        if (found == result.tensors.end() || found->second.size() < bytes) return false;
      }
      return true;
    }
    void Note(const v1::RunResponse& response) {
      if (response.has_receipt()) result.receipt = response.receipt();
      for (const auto& chunk : response.tensors().chunks()) {
        result.tensors[chunk.tensor()] += chunk.data();
      }
      if (!response.has_accepted()) return;
      result.accepted = response.accepted();
      uint32_t index = 0;
      for (const v1::TensorGroup& group : result.accepted.plan().groups()) {
        for (const v1::PlannedTensor& tensor : group.tensors()) {
          uint64_t bytes = 4;
          for (const uint64_t size : tensor.shape()) bytes *= size;
          if (group.source() == v1::TensorGroup::SOURCE_CALLBACK) asked[index] = bytes;
          ++index;
        }
      }
    }
    std::string Logits() const { return result.tensors.at(0) + result.tensors.at(1); }
  };

  std::unique_ptr<Call> Open(const v1::InteractRequest& first) {
    auto call = std::make_unique<Call>();
    call->stream = stub_->Interact(&call->context);
    EXPECT_TRUE(call->stream->Write(first));
    return call;
  }
  std::unique_ptr<Call> Open(const v1::RunSpec& spec) { return Open(Message(spec)); }

  std::string LogitsOfRun(const v1::Intervention& intervention) {
    v1::RunRequest request;
    *request.mutable_spec() = SpecWith(intervention);
    const Result result = Run(request);
    EXPECT_TRUE(result.status.ok()) << result.status.error_message();
    return result.tensors.at(0) + result.tensors.at(1);
  }

  static void ExpectEnd(Call& call, const std::string& reason, const std::string& message) {
    call.ReadToEnd();
    EXPECT_EQ(ReasonOf(call.result.status), reason) << call.result.status.error_message();
    EXPECT_THAT(call.result.status.error_message(), HasSubstr(message));
  }
};

TEST_F(InteractCallTest, WhatTheClientAnswersIsWhatLaterReadersSee) {
  v1::Intervention twice = At("blocks.0.hook_out");
  twice.mutable_scale()->mutable_factor()->set_scalar(2);
  const auto call = Open(SpecWith(Callback()));
  call->ReadQuestion();
  ASSERT_EQ(call->asked.size(), 2u);
  for (const auto& [index, bytes] : call->asked) {
    std::string data = call->result.tensors.at(index);
    std::vector<float> numbers(data.size() / sizeof(float));
    std::memcpy(numbers.data(), data.data(), data.size());
    for (float& number : numbers) number *= 2;
    std::memcpy(data.data(), numbers.data(), data.size());
    for (const size_t from : {size_t{0}, size_t{10}}) {
      v1::InteractRequest answer;
      v1::TensorChunk& piece = *answer.mutable_answer()->add_chunks();
      piece.set_tensor(index);
      piece.set_offset(from);
      piece.set_data(from == 0 ? data.substr(0, 10) : data.substr(10));
      ASSERT_TRUE(call->stream->Write(answer));
    }
  }
  call->ReadToEnd();
  ASSERT_TRUE(call->result.status.ok()) << call->result.status.error_message();
  EXPECT_EQ(call->Logits(), LogitsOfRun(twice));
  EXPECT_EQ(call->result.receipt.tensors(), 4u);
}

TEST_F(InteractCallTest, WhatIsKeptKeepsItsBits) {
  v1::Intervention same = At("blocks.0.hook_out");
  same.mutable_scale()->mutable_factor()->set_scalar(1);
  const auto call = Open(SpecWith(Callback()));
  call->ReadQuestion();
  v1::InteractRequest keep;
  for (const auto& [index, bytes] : call->asked) keep.mutable_keep()->add_tensors(index);
  ASSERT_TRUE(call->stream->Write(keep));
  call->ReadToEnd();
  ASSERT_TRUE(call->result.status.ok()) << call->result.status.error_message();
  EXPECT_EQ(call->Logits(), LogitsOfRun(same));
}

TEST_F(InteractCallTest, WhoOnlyLooksIsNotWaitedFor) {
  const auto call = Open(SpecWith(Callback(/*read_only=*/true)));
  call->ReadToEnd();
  ASSERT_TRUE(call->result.status.ok()) << call->result.status.error_message();
  EXPECT_EQ(call->result.tensors.size(), 4u);
}

TEST_F(InteractCallTest, AnUploadedValueIsAsGoodAsOneInTheRequest) {
  const std::string data(32 * sizeof(float), '\x3f');
  v1::Intervention inline_set = At("blocks.0.hook_out");
  v1::TensorValue& tensor = *inline_set.mutable_set()->mutable_value()->mutable_tensor();
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.add_shape(32);
  tensor.set_data(data);
  v1::Intervention uploaded = At("blocks.0.hook_out");
  v1::UploadedValue& upload = *uploaded.mutable_set()->mutable_value()->mutable_upload();
  upload.set_dtype(v1::DTYPE_FLOAT32);
  upload.add_shape(32);

  const auto call = Open(SpecWith(uploaded));
  for (const size_t from : {size_t{0}, size_t{100}}) {
    v1::InteractRequest message;
    v1::TensorChunk& piece = *message.mutable_upload()->add_chunks();
    piece.set_offset(from);
    piece.set_data(from == 0 ? data.substr(0, 100) : data.substr(100));
    ASSERT_TRUE(call->stream->Write(message));
  }
  call->ReadToEnd();
  ASSERT_TRUE(call->result.status.ok()) << call->result.status.error_message();
  EXPECT_EQ(call->Logits(), LogitsOfRun(inline_set));

  v1::RunRequest request;
  *request.mutable_spec() = SpecWith(uploaded);
  EXPECT_THAT(Run(request).status.error_message(), HasSubstr("only Interact takes"));
}

TEST_F(InteractCallTest, OnlyInteractTakesCallbacks) {
  v1::RunRequest request;
  *request.mutable_spec() = SpecWith(Callback());
  EXPECT_THAT(Run(request).status.error_message(), HasSubstr("through Interact"));
}

TEST_F(InteractCallTest, MessagesThatDoNotBelongThereEndTheCall) {
  v1::InteractRequest early;
  early.mutable_keep()->add_tensors(0);
  ExpectEnd(*Open(early), "UNEXPECTED_MESSAGE", "first message must be the spec");
  ExpectEnd(*Open(v1::InteractRequest()), "UNEXPECTED_MESSAGE", "first message must be the spec");

  auto call = Open(SpecWith(Callback()));
  call->ReadQuestion();
  ASSERT_TRUE(call->stream->Write(Message(SpecWith(Callback()))));
  ExpectEnd(*call, "UNEXPECTED_MESSAGE", "second spec");

  call = Open(SpecWith(Callback()));
  call->ReadQuestion();
  ASSERT_TRUE(call->stream->Write(early));
  ExpectEnd(*call, "UNEXPECTED_MESSAGE", "is no tensor of a callback");
  ExpectThatAGoodRunWorks();
}

TEST_F(InteractCallTest, AClientThatSendsNoMoreEndsItsRun) {
  const auto call = Open(SpecWith(Callback()));
  call->ReadQuestion();
  call->stream->WritesDone();
  ExpectEnd(*call, "UNEXPECTED_MESSAGE", "has closed its side");
  ExpectThatAGoodRunWorks();
}

TEST_F(InteractCallTest, AClientThatLeavesEndsItsRun) {
  for (int i = 0; i < 10; ++i) {
    const auto call = Open(SpecWith(Callback()));
    if (i % 2 == 0) call->ReadQuestion();
    call->context.TryCancel();
    call->ReadToEnd();
    EXPECT_EQ(call->result.status.error_code(), grpc::StatusCode::CANCELLED);
  }
  ExpectThatAGoodRunWorks();
}

TEST_F(InteractCallTest, AnAnswerThatIsNotFiniteIsRefused) {
  const auto call = Open(SpecWith(Callback()));
  call->ReadQuestion();
  for (const auto& [index, bytes] : call->asked) {
    v1::InteractRequest answer;
    v1::TensorChunk& piece = *answer.mutable_answer()->add_chunks();
    piece.set_tensor(index);
    piece.set_data(std::string(bytes, '\xff'));
    ASSERT_TRUE(call->stream->Write(answer));
  }
  ExpectEnd(*call, "VALUE_NOT_FINITE", "blocks.0.hook_out");
  ExpectThatAGoodRunWorks();
}

TEST_F(InteractCallTest, ARefusedSpecEndsTheCall) {
  v1::Intervention unknown = Callback();
  unknown.set_hook("blocks.0.hook_outt");
  ExpectEnd(*Open(SpecWith(unknown)), "HOOK_NOT_FOUND", "hook_out");
  ExpectThatAGoodRunWorks();
}

TEST_F(InteractCallTest, WhatAClientSendsIsNotInSharedMemory) {
  v1::Intervention intervention = At("blocks.0.hook_out");
  v1::UploadedValue& upload = *intervention.mutable_set()->mutable_value()->mutable_upload();
  upload.set_dtype(v1::DTYPE_FLOAT32);
  upload.add_shape(1);
  for (const bool in_upload : {true, false}) {
    const auto call = Open(SpecWith(in_upload ? intervention : Callback()));
    if (!in_upload) call->ReadQuestion();
    v1::InteractRequest message;
    v1::TensorChunk& piece =
        *(in_upload ? message.mutable_upload() : message.mutable_answer())->add_chunks();
    piece.set_shared_bytes(4);
    call->stream->Write(message);
    call->ReadToEnd();
    EXPECT_EQ(ReasonOf(call->result.status), "BAD_FIELD");
    EXPECT_THAT(call->result.status.error_message(), HasSubstr("shared memory"));
  }
}

}  // namespace
}  // namespace hookwire::server
