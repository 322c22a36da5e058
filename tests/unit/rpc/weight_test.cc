// Parameters over a socket: whole, in rows, in messages of a size, and the errors.

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hookwire/v1/service.pb.h>

#include <cstring>
#include <string>
#include <vector>

#include "server/errors/errors.h"
#include "server/rpc/weight_reader.h"
#include "tests/unit/rpc/service_fixture.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {
namespace {

using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;

std::string BytesOf(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

// A parameter as it comes off the stream.
struct Received {
  v1::WeightHeader header;
  std::string bytes;
  std::vector<size_t> message_bytes;
};

// Reads to the end; holds every message to what the protocol says.
absl::StatusOr<Received> ReadAll(const model::Parameters* parameters,
                                 const v1::GetWeightRequest& request) {
  absl::StatusOr<WeightReader> reader = WeightReader::Open(parameters, request, "sha256:00");
  if (!reader.ok()) return reader.status();
  Received out;
  while (true) {
    absl::StatusOr<std::optional<grpc::ByteBuffer>> message = reader->Next();
    if (!message.ok()) return message.status();
    if (!message->has_value()) return out;
    grpc::Slice slice;
    EXPECT_TRUE((*message)->DumpToSingleSlice(&slice).ok());
    v1::GetWeightResponse response;
    EXPECT_TRUE(response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    EXPECT_EQ(response.has_header(), out.message_bytes.empty());
    if (response.has_header()) out.header = response.header();
    EXPECT_EQ(response.offset(), out.bytes.size());
    out.bytes += response.data();
    out.message_bytes.push_back(slice.size());
  }
}

absl::StatusOr<Received> ReadAll(const model::TextModel& model, const std::string& name,
                                 const std::vector<int64_t>& rows = {}) {
  v1::GetWeightRequest request;
  request.set_name(name);
  for (const int64_t row : rows) request.mutable_rows()->mutable_indices()->add_values(row);
  return ReadAll(&model.parameters(), request);
}

absl::Status ErrorOf(const model::TextModel& model, const std::string& name,
                     const std::vector<int64_t>& rows = {}) {
  return ReadAll(model, name, rows).status();
}

std::string Meta(const absl::Status& status, const std::string& key) {
  for (const auto& [name, value] : DetailsOf(status).metadata) {
    if (name == key) return value;
  }
  return "";
}

// A parameter of `rows` rows of `columns` float32 numbers, all different.
model::Parameters Large(const model::Config& config, int64_t rows, int64_t columns) {
  at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
  float* const data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<float>(i);
  return model::Parameters(config, {{"large", tensor}});
}

TEST(Weights, EveryParameterOfEveryVariantComesWholeUnderItsName) {
  for (const TinyVariant variant :
       {TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe, TinyVariant::kUnified}) {
    const model::TextModel& model = TinyModel(variant);
    ASSERT_GT(model.parameters().all().size(), 10u);
    int64_t elements = 0;
    for (const model::Parameter& parameter : model.parameters().all()) {
      const absl::StatusOr<Received> got = ReadAll(model, parameter.name);
      ASSERT_TRUE(got.ok()) << parameter.name << ": " << got.status();
      EXPECT_EQ(got->bytes, BytesOf(parameter.tensor)) << parameter.name;
      EXPECT_EQ(got->header.name(), parameter.name);
      EXPECT_EQ(got->header.dtype(), v1::DTYPE_FLOAT32);
      EXPECT_EQ(got->header.bytes(), got->bytes.size());
      EXPECT_EQ(got->header.weights_digest(), "sha256:00");
      const std::vector<int64_t> shape(got->header.shape().begin(), got->header.shape().end());
      EXPECT_EQ(at::IntArrayRef(shape), parameter.tensor.sizes()) << parameter.name;
      elements += parameter.tensor.numel();
    }
    // Nothing that the model counts is without a name; a tied unembedding has two, and each layer's
    // scalar is no parameter.
    const int64_t tied =
        model.config().tie_word_embeddings ? model.config().d_vocab * model.config().d_model : 0;
    EXPECT_EQ(elements, model.n_params() + tied + model.config().n_layers());
  }
}

TEST(Weights, NamesAreThoseOfTheComponents) {
  const model::TextModel& e_type = TinyModel(TinyVariant::kEType);
  const auto& config = e_type.config();
  const auto shape = [](const model::TextModel& model, const std::string& name) {
    const absl::StatusOr<at::Tensor> tensor = model.parameters().Find(name);
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    return tensor.ok() ? tensor->sizes().vec() : std::vector<int64_t>();
  };
  EXPECT_EQ(shape(e_type, "embed.weight"), (std::vector{config.d_vocab, config.d_model}));
  EXPECT_EQ(shape(e_type, "blocks.1.attn.q.weight"),
            (std::vector{config.n_heads * config.layers[1].d_head, config.d_model}));
  EXPECT_EQ(shape(e_type, "blocks.3.ln1.weight"), (std::vector{config.d_model}));
  EXPECT_EQ(shape(e_type, "blocks.3.layer_scalar"), (std::vector<int64_t>{1}));
  EXPECT_EQ(shape(e_type, "embed_tokens_per_layer.weight").size(), 2u);
  const model::TextModel& moe = TinyModel(TinyVariant::kMoe);
  EXPECT_EQ(shape(moe, "blocks.1.experts.gate_up_proj"),
            (std::vector{moe.config().n_experts, 2 * moe.config().d_expert, moe.config().d_model}));
  EXPECT_EQ(shape(moe, "blocks.1.router.per_expert_scale"), (std::vector{moe.config().n_experts}));
}

TEST(Weights, RowsComeInTheOrderInWhichTheyAreNamed) {
  const model::TextModel& model = TinyModel();
  const at::Tensor embed = *model.parameters().Find("embed.weight");
  const absl::StatusOr<Received> got = ReadAll(model, "embed.weight", {7, -1, 2});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->bytes, BytesOf(embed[7]) + BytesOf(embed[embed.size(0) - 1]) + BytesOf(embed[2]));
  EXPECT_THAT(got->header.shape(), ::testing::ElementsAre(3, model.config().d_model));
  EXPECT_EQ(got->header.n_rows(), static_cast<uint64_t>(embed.size(0)));

  v1::GetWeightRequest range;
  range.set_name("embed.weight");
  range.mutable_rows()->mutable_range()->set_start(3);
  range.mutable_rows()->mutable_range()->set_stop(9);
  EXPECT_EQ(ReadAll(&model.parameters(), range)->bytes, BytesOf(embed.slice(0, 3, 9)));
  range.mutable_rows()->mutable_range()->set_step(2);
  EXPECT_EQ(ReadAll(&model.parameters(), range)->bytes, BytesOf(embed.slice(0, 3, 9, 2)));
}

TEST(Weights, MessagesStayWithinTheSizeThatTheClientTakes) {
  const model::Config& config = TinyModel().config();
  const model::Parameters parameters = Large(config, 1000, 1024);  // 4 MB
  v1::GetWeightRequest request;
  request.set_name("large");
  const std::string whole = BytesOf(*parameters.Find("large"));
  for (const uint32_t most : {0u, 64u << 10, 1u << 20, 16u << 20}) {
    request.set_max_message_bytes(most);
    const absl::StatusOr<Received> got = ReadAll(&parameters, request);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->bytes, whole);
    const size_t limit = most == 0 ? 2u << 20 : most;
    EXPECT_THAT(got->message_bytes, ::testing::Each(::testing::Le(limit)));
    EXPECT_LE(got->message_bytes.size(), whole.size() / limit + 2);
  }
  request.set_max_message_bytes(1000);
  EXPECT_EQ(DetailsOf(ReadAll(&parameters, request).status()).reason, v1::ERROR_REASON_BAD_FIELD);
}

TEST(Weights, RowsTogetherAreNotCopiedAndScatteredOnesAreBounded) {
  const model::Parameters parameters = Large(TinyModel().config(), 4000, 1024);  // 16 MB
  const at::Tensor large = *parameters.Find("large");
  const auto* const begin = static_cast<const uint8_t*>(large.const_data_ptr());
  v1::GetWeightRequest request;
  request.set_name("large");
  request.set_max_message_bytes(1u << 30);
  absl::StatusOr<WeightReader> reader = WeightReader::Open(&parameters, request, "");
  ASSERT_TRUE(reader.ok());
  const auto message = reader->Next();
  ASSERT_TRUE(message.ok() && message->has_value());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE((*message)->Dump(&slices).ok());
  EXPECT_EQ(slices.back().begin(), begin);
  EXPECT_EQ(slices.back().size(), large.nbytes());

  // Rows of a width that does not divide what is copied at once.
  const model::Parameters odd = Large(TinyModel().config(), 4000, 999);
  const at::Tensor tensor = *odd.Find("large");
  std::string want;
  for (int64_t row = 3999; row >= 0; row -= 3) {
    request.mutable_rows()->mutable_indices()->add_values(row);
    want += BytesOf(tensor[row]);
  }
  const absl::StatusOr<Received> got = ReadAll(&odd, request);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(got->bytes == want);
  EXPECT_GT(got->message_bytes.size(), 4u);
  EXPECT_THAT(got->message_bytes, ::testing::Each(::testing::Le(WeightReader::kCopiedBytes + 256)));
}

TEST(Weights, UnknownNamesGetTheNearestRightOne) {
  const absl::Status status = ErrorOf(TinyModel(), "blocks.0.attn.q.wieght");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_WEIGHT_NOT_FOUND);
  EXPECT_EQ(DetailsOf(status).field, "name");
  EXPECT_EQ(Meta(status, "suggestion"), "blocks.0.attn.q.weight");
  EXPECT_EQ(Meta(status, "weight"), "blocks.0.attn.q.wieght");
  EXPECT_THAT(std::string(ErrorOf(TinyModel(), "blocks.9.ln1.weight").message()),
              ::testing::HasSubstr("layers 0 to 5"));
  EXPECT_EQ(DetailsOf(ErrorOf(TinyModel(), std::string(5000, 'x'))).reason,
            v1::ERROR_REASON_WEIGHT_NOT_FOUND);
  EXPECT_EQ(DetailsOf(ErrorOf(TinyModel(), "")).reason, v1::ERROR_REASON_WEIGHT_NOT_FOUND);
  EXPECT_EQ(DetailsOf(ErrorOf(TinyModel(), "blocks.99999999999.x")).reason,
            v1::ERROR_REASON_WEIGHT_NOT_FOUND);
}

TEST(Weights, AbsentOnesGetTheReason) {
  const model::TextModel& e_type = TinyModel(TinyVariant::kEType);
  const int shared = e_type.config().n_layers() - 1;
  const int source = *e_type.config().layers.back().key_value_source;
  for (const std::string leaf : {".attn.k.weight", ".attn.v.weight", ".attn.k_norm.weight"}) {
    const absl::Status status = ErrorOf(e_type, absl::StrCat("blocks.", shared, leaf));
    EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_WEIGHT_ABSENT) << status;
    EXPECT_THAT(Meta(status, "cause"), ::testing::HasSubstr("reuses the keys and values of layer"));
    EXPECT_EQ(Meta(status, "suggestion"), absl::StrCat("blocks.", source, leaf));
    EXPECT_TRUE(e_type.parameters().Find(Meta(status, "suggestion")).ok());
  }
  EXPECT_THAT(Meta(ErrorOf(e_type, "blocks.0.experts.down_proj"), "cause"),
              ::testing::HasSubstr("no experts"));
  EXPECT_THAT(Meta(ErrorOf(e_type, "blocks.0.attn.q.bias"), "cause"),
              ::testing::HasSubstr("no bias"));
  EXPECT_THAT(Meta(ErrorOf(e_type, "blocks.0.attn.v_norm.weight"), "cause"),
              ::testing::HasSubstr("no weight"));
  const model::TextModel& dense = TinyModel(TinyVariant::kDense);
  const absl::Status no_values = ErrorOf(dense, "blocks.1.attn.v.weight");
  EXPECT_THAT(Meta(no_values, "cause"), ::testing::HasSubstr("K==V"));
  EXPECT_EQ(Meta(no_values, "suggestion"), "blocks.1.attn.k.weight");
  EXPECT_THAT(Meta(ErrorOf(dense, "blocks.0.per_layer_projection.weight"), "cause"),
              ::testing::HasSubstr("no per-layer embeddings"));
}

TEST(Weights, RowsOutsideTheParameterAreRefused) {
  const int64_t rows = TinyModel().config().d_vocab;
  for (const int64_t row : {rows, -rows - 1}) {
    const absl::Status status = ErrorOf(TinyModel(), "embed.weight", {0, row});
    EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
    EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_ROW_OUT_OF_RANGE);
    EXPECT_EQ(DetailsOf(status).field, "rows");
    EXPECT_EQ(Meta(status, "weight"), "embed.weight");
    EXPECT_EQ(Meta(status, "limit"), absl::StrCat(rows));
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(absl::StrCat("row ", row)));
  }
  EXPECT_EQ(DetailsOf(ErrorOf(TinyModel(), "embed.weight", {1, 1})).reason,
            v1::ERROR_REASON_BAD_SELECTION);
  v1::GetWeightRequest request;
  request.set_name("embed.weight");
  request.mutable_rows();
  EXPECT_EQ(DetailsOf(ReadAll(&TinyModel().parameters(), request).status()).reason,
            v1::ERROR_REASON_BAD_FIELD);
}

class WeightServiceTest : public ServiceTest {
 protected:
  grpc::Status Get(const std::string& name, std::string& bytes) {
    grpc::ClientContext context;
    v1::GetWeightRequest request;
    request.set_name(name);
    const auto reader = stub_->GetWeight(&context, request);
    v1::GetWeightResponse response;
    while (reader->Read(&response)) bytes += response.data();
    return reader->Finish();
  }
};

TEST_F(WeightServiceTest, AParameterComesOverTheSocket) {
  StartServer({});
  std::string bytes;
  const grpc::Status status = Get("unembed.weight", bytes);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(bytes, BytesOf(*parts_->model.parameters().Find("unembed.weight")));
}

TEST_F(WeightServiceTest, AServerThatKeepsItsWeightsSaysSo) {
  Settings settings;
  settings.serve_weights = false;
  StartServer(settings);
  std::string bytes;
  const grpc::Status status = Get("unembed.weight", bytes);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(status), "WEIGHTS_NOT_SERVED");
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("--serve-weights false"));
  EXPECT_EQ(bytes, "");
  ExpectThatAGoodRunWorks();
}

TEST_F(WeightServiceTest, AReaderThatStandsStillIsGivenUp) {
  Settings settings;
  settings.stall_timeout = absl::Milliseconds(300);
  const model::Parameters large = Large(TinyModel().config(), 16'000, 1024);  // 64 MB
  settings.parameters = &large;
  StartServer(settings);
  grpc::ClientContext context;
  v1::GetWeightRequest request;
  request.set_name("large");
  const auto reader = stub_->GetWeight(&context, request);
  v1::GetWeightResponse response;
  ASSERT_TRUE(reader->Read(&response));
  const auto gone = [&] {
    // What the transport holds of the tensor goes back when the call is given up.
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (large.Find("large")->use_count() > 2 && absl::Now() < end) {
      absl::SleepFor(absl::Milliseconds(20));
    }
    return large.Find("large")->use_count() <= 2;
  };
  EXPECT_TRUE(gone());
  while (reader->Read(&response)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  ExpectThatAGoodRunWorks();
}

}  // namespace
}  // namespace hookwire::server
