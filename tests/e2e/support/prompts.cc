#include "tests/e2e/support/prompts.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "hookwire/ops.h"
#include "tests/e2e/support/daemon.h"

namespace hookwire::e2e {

uint32_t TokenId(const std::string& word) {
  static const nlohmann::json vocabulary = [] {
    std::ifstream file(ToyCheckpoint() + "/tokenizer.json");
    return nlohmann::json::parse(file).at("model").at("vocab");
  }();
  const auto entry = vocabulary.find(word);
  if (entry == vocabulary.end()) {
    std::cerr << "the toy has no word '" << word << "'\n";
    std::abort();
  }
  return entry->get<uint32_t>();
}

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

}  // namespace hookwire::e2e
