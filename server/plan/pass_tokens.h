// How many tokens a forward pass has at most, where nothing else is asked for.
#ifndef HOOKWIRE_SERVER_PLAN_PASS_TOKENS_H_
#define HOOKWIRE_SERVER_PLAN_PASS_TOKENS_H_

#include <cstdint>

namespace hookwire::server {

// Passes with more tokens than this take no less time for each token.
inline constexpr int64_t kDefaultPassTokens = 8192;
inline constexpr int64_t kDefaultPassTokensOnCpu = 1024;

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_PASS_TOKENS_H_
