// hookwire-bare-pass: the forward pass without a server, to compare the server with.
//
//   hookwire-bare-pass CHECKPOINT THREADS SEQUENCES TOKENS
//
// Prints a line on stdout when it is ready. For each line on stdin it runs one pass of SEQUENCES
// sequences of TOKENS tokens each through all layers, with `fast` numerics, and prints the seconds
// that the pass took. A tap wants the output of the last layer for every token, so that all of it
// is computed, and drops it. Ends when stdin does.

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tap/tap.h"
#include "model/text/text_model.h"

namespace hookwire {
namespace {

// Wants one hook point of every sequence.
class LastLayer final : public model::Tap {
 public:
  explicit LastLayer(model::HookId hook) : hook_(hook) {}

  bool Wants(model::HookId hook) const override { return hook == hook_; }
  bool Wants(model::HookId hook, int /*sequence*/) const override { return hook == hook_; }
  absl::Status Visit(model::HookId /*hook*/, absl::Span<const model::RowRange> /*rows*/,
                     absl::Span<at::Tensor> /*values*/) override {
    return absl::OkStatus();
  }
  absl::Status LayerDone(int /*layer*/) override { return absl::OkStatus(); }

 private:
  const model::HookId hook_;
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "hookwire-bare-pass: %s\n", std::string(status.message()).c_str());
  return 2;
}

// 0 where the text is not a number.
int NumberOf(const std::string& text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::vector<std::vector<int64_t>> RandomSequences(int count, int length, int64_t limit) {
  std::mt19937_64 random(0);
  std::uniform_int_distribution<int64_t> token(0, limit - 1);
  std::vector<std::vector<int64_t>> sequences(static_cast<size_t>(count));
  for (auto& sequence : sequences) {
    for (int i = 0; i < length; ++i) sequence.push_back(token(random));
  }
  return sequences;
}

absl::Status RunPass(const model::TextModel& text, std::vector<std::vector<int64_t>> sequences,
                     model::Tap& tap) {
  const c10::InferenceMode inference;
  absl::StatusOr<model::PassState> state =
      text.Begin(std::move(sequences), model::Numerics::kFast, tap);
  if (!state.ok()) return state.status();
  return text.RunLayers(*state, text.config().n_layers(), tap);
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() != 4 || NumberOf(arguments[1]) < 1 || NumberOf(arguments[2]) < 1 ||
      NumberOf(arguments[3]) < 1) {
    return Fail(absl::InvalidArgumentError("usage: CHECKPOINT THREADS SEQUENCES TOKENS"));
  }
  at::set_num_threads(NumberOf(arguments[1]));
  const auto checkpoint = model::Checkpoint::Open(arguments[0]);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  const auto text = model::TextModel::Load(*checkpoint, {});
  if (!text.ok()) return Fail(text.status());
  const auto hook = (*text)->catalogue().Find(
      absl::StrCat("blocks.", (*text)->config().n_layers() - 1, ".hook_out"));
  if (!hook.ok()) return Fail(hook.status());
  LastLayer tap(*hook);
  const auto sequences =
      RandomSequences(NumberOf(arguments[2]), NumberOf(arguments[3]), (*text)->TokenLimit());

  std::puts("hookwire-bare-pass ready");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    const auto begin = std::chrono::steady_clock::now();
    if (const absl::Status status = RunPass(**text, sequences, tap); !status.ok()) {
      return Fail(status);
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    std::printf("%.9f\n", taken.count());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace hookwire

int main(int argc, char** argv) {
  return hookwire::Main(std::vector<std::string>(argv + 1, argv + argc));
}
