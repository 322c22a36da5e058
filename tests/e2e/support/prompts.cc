#include "tests/e2e/support/prompts.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "hookwire/ops.h"
#include "tests/e2e/support/daemon.h"

namespace hookwire::e2e {

namespace {

const nlohmann::json& Vocabulary() {
  static const auto* const kVocabulary = [] {
    std::ifstream file(ToyCheckpoint() + "/tokenizer.json");
    return new nlohmann::json(nlohmann::json::parse(file).at("model").at("vocab"));
  }();
  return *kVocabulary;
}

}  // namespace

uint32_t TokenId(const std::string& word) {
  const auto entry = Vocabulary().find(word);
  if (entry == Vocabulary().end()) {
    std::cerr << "the toy has no word '" << word << "'\n";
    std::abort();
  }
  return entry->get<uint32_t>();
}

uint32_t VocabularySize() { return static_cast<uint32_t>(Vocabulary().size()); }

std::vector<uint32_t> TokenIds(const std::string& text) {
  std::vector<uint32_t> ids = {TokenId("<bos>")};
  std::istringstream words(text);
  for (std::string word; words >> word;) ids.push_back(TokenId(word));
  return ids;
}

std::vector<uint32_t> CleanPrompt() {
  return TokenIds("When Mary and John went to the store , John gave a drink to");
}

std::vector<uint32_t> CorruptedPrompt() {
  return TokenIds("When Mary and John went to the store , Mary gave a drink to");
}

std::vector<uint32_t> LongPrompt(size_t length, uint32_t seed) {
  std::vector<uint32_t> ids(length);
  uint32_t state = seed * 2654435761U + 1;
  for (uint32_t& id : ids) {
    state = state * 1664525U + 1013904223U;
    id = 4 + (state >> 16U) % 40;
  }
  return ids;
}

v1::RunSpec SpecOf(const std::vector<std::vector<uint32_t>>& sequences) {
  v1::RunSpec spec;
  for (const auto& ids : sequences) *spec.add_sequences() = client::Tokens(ids);
  return spec;
}

v1::RunSpec GoodSpec() {
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  *spec.mutable_outputs()->mutable_logits()->mutable_positions() = client::At(-1);
  return spec;
}

v1::RunRequest FullRequest() {
  v1::RunRequest request;
  v1::RunSpec& spec = *request.mutable_spec();
  spec = SpecOf({CleanPrompt(), CorruptedPrompt()});
  *spec.add_captures() = client::Capture(
      "blocks.1.attn.hook_q",
      {.pos = client::At(2), .head = client::Slice(0, 2), .feature = client::At({1, 2})});
  const std::string hook = "blocks.0.hook_resid_mid";
  *spec.add_interventions() = client::Set(hook, client::Float32({1}, {1}), {.pos = client::At(1)});
  *spec.add_interventions() = client::Add(hook, client::Scalar(1));
  *spec.add_interventions() = client::Scale(hook, client::Scalar(2));
  *spec.add_interventions() = client::Zero(hook, {.pos = client::At(3)});
  *spec.add_interventions() = client::Copy(hook, 0, {.sequences = {1}});
  *spec.mutable_outputs()->mutable_logits()->mutable_positions() = client::At(-1);
  for (int s = 0; s < 2; ++s) {
    v1::Targets& targets = *spec.mutable_outputs()->mutable_log_probs()->add_targets();
    targets.add_positions(0);
    targets.add_token_ids(5);
  }
  return request;
}

}  // namespace hookwire::e2e
