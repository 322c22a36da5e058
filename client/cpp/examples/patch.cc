// Activation patching in one run: copies a hook point of the clean prompt into the corrupted one
// and prints how the logits of the next token change.
//
//   hookwire-example-patch ADDRESS HOOK CLEAN CORRUPTED [POS]
//
// CLEAN and CORRUPTED are token ids, separated by commas; HOOK is a name, an alias or a glob; POS
// is the position to patch (default: all).

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "hookwire/client.h"

namespace {

namespace client = hookwire::client;
namespace v1 = hookwire::v1;

[[noreturn]] void Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString(absl::StatusToStringMode::kWithNoExtraData).c_str());
  std::exit(1);
}

std::vector<uint32_t> ParseTokens(const std::string& text) {
  std::vector<uint32_t> ids;
  for (const auto& word : absl::StrSplit(text, ',')) {
    if (!absl::SimpleAtoi(word, &ids.emplace_back())) {
      Fail(absl::InvalidArgumentError("token ids are numbers separated by commas"));
    }
  }
  return ids;
}

// Logits of the last position of sequences 0 … n - 1.
std::vector<std::vector<double>> LastLogits(const client::Client& client, const v1::RunSpec& spec) {
  auto result = client.Collect(spec);
  if (!result.ok()) Fail(result.status());
  std::vector<std::vector<double>> logits;
  for (int s = 0; s < spec.sequences_size(); ++s) {
    logits.push_back(result->Find("logits", static_cast<uint32_t>(s))->ToDoubles());
  }
  return logits;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc > 6) {
    std::fprintf(stderr, "usage: %s ADDRESS HOOK CLEAN CORRUPTED [POS]\n", argv[0]);
    return 2;
  }
  client::Where where = {.sequences = {1}};
  if (int64_t pos; argc == 6) {
    if (!absl::SimpleAtoi(argv[5], &pos)) Fail(absl::InvalidArgumentError("POS is a number"));
    where.pos = client::At(pos);
  }

  auto connected = client::Client::Connect(argv[1]);
  if (!connected.ok()) Fail(connected.status());
  const client::Client& client = **connected;

  v1::RunSpec spec;
  *spec.add_sequences() = client::Tokens(ParseTokens(argv[3]));
  *spec.add_sequences() = client::Tokens(ParseTokens(argv[4]));
  *spec.mutable_outputs()->mutable_logits()->mutable_positions() = client::At(-1);
  const auto before = LastLogits(client, spec);

  *spec.add_interventions() = client::Copy(argv[2], /*from_sequence=*/0, where);
  const auto after = LastLogits(client, spec);

  // The tokens that patching moves most.
  std::vector<size_t> tokens(before[1].size());
  std::iota(tokens.begin(), tokens.end(), size_t{0});
  const size_t shown = std::min<size_t>(5, tokens.size());
  std::partial_sort(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(shown),
                    tokens.end(), [&](size_t a, size_t b) {
                      return std::abs(after[1][a] - before[1][a]) >
                             std::abs(after[1][b] - before[1][b]);
                    });
  std::printf("%8s %10s %10s %10s %10s\n", "token", "clean", "corrupted", "patched", "change");
  for (size_t i = 0; i < shown; ++i) {
    const size_t token = tokens[i];
    std::printf("%8zu %10.4f %10.4f %10.4f %+10.4f\n", token, before[0][token], before[1][token],
                after[1][token], after[1][token] - before[1][token]);
  }
  return 0;
}
