// What a daemon says of itself and of its model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "hookwire/v1/service.grpc.pb.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/raw_call.h"

namespace hookwire::e2e {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

using ModelInfo = DaemonTest<Fast>;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_F(ModelInfo, DescribesTheToyAsItsConfigDoes) {
  const auto response = client().GetModel();
  ASSERT_THAT(StatusOf(response), IsOk());
  const v1::Model& model = response->model();
  const auto config = nlohmann::json::parse(ReadFile(ToyCheckpoint() + "/config.json"));
  const auto& text = config.at("text_config");
  EXPECT_EQ(model.name(), "checkpoint");
  EXPECT_EQ(model.architecture(), config.at("architectures").at(0).get<std::string>());
  EXPECT_EQ(model.variant(), "E");
  EXPECT_EQ(model.n_layers(), text.at("num_hidden_layers"));
  EXPECT_EQ(model.d_model(), text.at("hidden_size"));
  EXPECT_EQ(model.n_heads(), text.at("num_attention_heads"));
  EXPECT_EQ(model.n_key_value_heads(), text.at("num_key_value_heads"));
  EXPECT_EQ(model.d_head(), text.at("head_dim"));
  EXPECT_EQ(model.d_mlp(), text.at("intermediate_size"));
  EXPECT_EQ(model.d_vocab(), text.at("vocab_size"));
  EXPECT_EQ(model.n_ctx(), text.at("max_position_embeddings"));
  EXPECT_EQ(model.eps(), text.at("rms_norm_eps"));
  EXPECT_EQ(model.act_fn(), text.at("hidden_activation").get<std::string>());
  EXPECT_EQ(model.sliding_window(), text.at("sliding_window"));
  EXPECT_EQ(model.final_logit_softcap(), text.at("final_logit_softcapping"));
  EXPECT_EQ(model.d_per_layer_input(), text.at("hidden_size_per_layer_input"));
  EXPECT_EQ(model.n_key_value_shared_layers(), text.at("num_kv_shared_layers"));
  EXPECT_EQ(model.n_experts(), 0U);
  EXPECT_TRUE(model.tie_word_embeddings());
  EXPECT_EQ(model.bos_token_id(), text.at("bos_token_id"));
  EXPECT_EQ(model.pad_token_id(), text.at("pad_token_id"));
}

// The last two of six layers reuse the keys and values of the last layer of their kind before them.
TEST_F(ModelInfo, TellsTheLayersApart) {
  const v1::Model model = client().GetModel()->model();
  ASSERT_EQ(model.layers_size(), 6);
  EXPECT_EQ(model.layers(2).attention_type(), v1::ATTENTION_TYPE_FULL);
  EXPECT_EQ(model.layers(2).d_head(), 32U);
  EXPECT_EQ(model.layers(3).attention_type(), v1::ATTENTION_TYPE_SLIDING);
  EXPECT_EQ(model.layers(3).d_head(), 16U);
  EXPECT_FALSE(model.layers(3).has_key_value_source());
  EXPECT_EQ(model.layers(3).d_mlp(), model.d_mlp());
  EXPECT_EQ(model.layers(4).key_value_source(), 3U);
  EXPECT_EQ(model.layers(5).key_value_source(), 2U);
  EXPECT_EQ(model.layers(5).d_mlp(), 2 * model.d_mlp());
}

TEST_F(ModelInfo, DescribesTheServer) {
  const auto response = client().GetModel();
  ASSERT_THAT(StatusOf(response), IsOk());
  const v1::Server& server = response->server();
  EXPECT_THAT(server.build(), StartsWith("hookwired "));
  EXPECT_EQ(server.device(), "cpu");
  EXPECT_EQ(server.dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(server.numerics(), v1::NUMERICS_FAST);
  EXPECT_EQ(server.threads(), 1U);
  EXPECT_EQ(server.max_request_bytes(), 4U << 20U);
  EXPECT_THAT(server.capabilities(),
              IsSupersetOf({"run", "plan", "ops.set", "ops.add", "ops.scale", "ops.zero",
                            "ops.copy", "ops.callback", "log_probs", "stop_at_layer"}));
}

TEST_F(ModelInfo, ListsEveryHookPointOnce) {
  const auto hooks = client().ListHooks();
  ASSERT_THAT(StatusOf(hooks), IsOk());
  std::set<std::string> names;
  for (const v1::HookPoint& hook : *hooks) {
    EXPECT_TRUE(names.insert(hook.name()).second) << hook.name();
    for (const std::string& alias : hook.aliases()) {
      EXPECT_TRUE(names.insert(alias).second) << alias;
    }
    EXPECT_GT(hook.axes_size(), 0) << hook.name();
    EXPECT_NE(hook.dtype(), v1::DTYPE_UNSPECIFIED) << hook.name();
    EXPECT_EQ(hook.writable(), hook.read_only_reason().empty()) << hook.name();
  }
  EXPECT_THAT(names, IsSupersetOf({"embed.hook_in", "hook_embed", "blocks.0.hook_resid_pre",
                                   "blocks.5.attn.hook_pattern", "blocks.3.attn.k.hook_out",
                                   "blocks.3.hook_resid_mid", "hook_logits"}));
  EXPECT_THAT(names, Not(Contains("blocks.4.attn.k.hook_out")));
}

TEST_F(ModelInfo, ListsWhatFiltersName) {
  const auto hooks = client().ListHooks({"blocks.*.hook_resid_post", "hook_embed"});
  ASSERT_THAT(StatusOf(hooks), IsOk());
  ASSERT_EQ(hooks->size(), 7U);
  EXPECT_EQ(hooks->front().name(), "embed.hook_out");
  EXPECT_EQ(hooks->back().name(), "blocks.5.hook_out");
  EXPECT_EQ(hooks->back().layer(), 5U);
  EXPECT_EQ(hooks->back().module(), "model.language_model.layers.5");
}

TEST_F(ModelInfo, RefusesAFilterThatNamesNothing) {
  EXPECT_THAT(StatusOf(client().ListHooks({"blocks.*.hook_resid_pots"})),
              IsError(absl::StatusCode::kNotFound, v1::ERROR_REASON_GLOB_NO_MATCH));
}

TEST_F(ModelInfo, SendsTheTokenizerFilesByteForByte) {
  const auto stub = v1::ActivationService::NewStub(OpenChannel(daemon().address()));
  grpc::ClientContext context;
  const auto reader = stub->GetTokenizer(&context, {});
  std::map<std::string, std::string> files;
  v1::GetTokenizerResponse response;
  while (reader->Read(&response)) {
    files[response.name()] += response.data();
    EXPECT_EQ(response.size(),
              ReadFile(absl::StrCat(ToyCheckpoint(), "/", response.name())).size());
  }
  ASSERT_TRUE(reader->Finish().ok());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_THAT(files[name], Not(IsEmpty())) << name;
    EXPECT_EQ(files[name], ReadFile(absl::StrCat(ToyCheckpoint(), "/", name))) << name;
  }
}

TEST_F(ModelInfo, IsHealthy) {
  // HealthCheckRequest {service}; HealthCheckResponse {status: SERVING}.
  const auto channel = OpenChannel(daemon().address());
  const std::string service = "hookwire.v1.ActivationService";
  for (const std::string& request :
       {std::string(), "\x0a" + std::string(1, static_cast<char>(service.size())) + service}) {
    const RawAnswer answer = CallRaw(channel, "/grpc.health.v1.Health/Check", request);
    EXPECT_THAT(answer.status, IsOk());
    EXPECT_THAT(answer.messages, ElementsAre("\x08\x01"));
  }
}

TEST_F(ModelInfo, ReflectsItsService) {
  // ServerReflectionRequest {list_services: ""}.
  const RawAnswer answer = CallRaw(OpenChannel(daemon().address()),
                                   "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                   std::string("\x3a\x00", 2));
  EXPECT_THAT(answer.status, IsOk());
  EXPECT_THAT(answer.messages, ElementsAre(HasSubstr("hookwire.v1.ActivationService")));
}

}  // namespace
}  // namespace hookwire::e2e
