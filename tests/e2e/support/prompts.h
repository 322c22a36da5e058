// Prompts for the toy checkpoint.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_PROMPTS_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_PROMPTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hookwire/v1/service.pb.h"

namespace hookwire::e2e {

// The id of a word of the toy's vocabulary; aborts where there is none.
uint32_t TokenId(const std::string& word);
// The number of words in it.
uint32_t VocabularySize();
// A beginning-of-sequence token and the ids of space-separated words.
std::vector<uint32_t> TokenIds(const std::string& text);

// An indirect-object sentence whose next word is "Mary", and the same with the giver swapped, whose
// next word is "John". They differ at position kGiver alone.
std::vector<uint32_t> CleanPrompt();
std::vector<uint32_t> CorruptedPrompt();
inline constexpr int64_t kGiver = 10;

// `length` ids, each between 4 and 43, that depend on `seed`.
std::vector<uint32_t> LongPrompt(size_t length, uint32_t seed = 0);

// A run of these sequences that asks for nothing yet.
v1::RunSpec SpecOf(const std::vector<std::vector<uint32_t>>& sequences);
// CleanPrompt with logits of its last position: the good request that must work after every error.
v1::RunSpec GoodSpec();
// A good request that has every message in it.
v1::RunRequest FullRequest();

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_PROMPTS_H_
