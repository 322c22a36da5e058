#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/execute/executor.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string WriteConfig(const std::string& text) {
  static const hookwire::testing::TempDirectory kDirectory;
  return kDirectory.Write("config.toml", text);
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  const absl::StatusOr<Options> options = ParseOptions(arguments);
  EXPECT_FALSE(options.ok());
  const std::string message(options.status().message());
  EXPECT_EQ(message.find('\n'), std::string::npos) << "one line";
  return message;
}

TEST(Options, HaveDefaults) {
  const absl::StatusOr<Options> options = ParseOptions({"--model", "dir"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model, "dir");
  EXPECT_EQ(options->listen.ToString(), "127.0.0.1:7431");
  EXPECT_THAT(options->devices, ElementsAre("cpu"));
  EXPECT_EQ(options->dtype, std::nullopt);
  EXPECT_EQ(options->numerics, model::Numerics::kFast);
  EXPECT_EQ(options->threads, std::nullopt);
  EXPECT_EQ(options->log_format, LogFormat::kText);
  EXPECT_EQ(options->result_buffer_mb, 256u);
  EXPECT_EQ(options->stall_timeout, absl::Seconds(60));
}

TEST(Options, TakeEveryFlagInBothForms) {
  const absl::StatusOr<Options> options = ParseOptions(
      {"--model=m", "--listen=[::1]:0", "--device", "cuda:1", "--dtype=bfloat16", "--numerics",
       "reference", "--threads=3", "--log-format=json", "--log-level=debug", "--max-result-mb=0",
       "--max-tokens=12", "--max-batch-tokens=8", "--max-queue=2", "--result-buffer-mb=1",
       "--stall-timeout=0.5", "--grace-period=7"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->listen.ToString(), "[::1]:0");
  EXPECT_THAT(options->devices, ElementsAre("cuda:1"));
  EXPECT_EQ(options->dtype, at::kBFloat16);
  EXPECT_EQ(options->numerics, model::Numerics::kReference);
  EXPECT_EQ(options->threads, 3);
  EXPECT_EQ(options->log_format, LogFormat::kJson);
  EXPECT_EQ(options->log_level, spdlog::level::debug);
  EXPECT_EQ(options->max_result_mb, 0u);
  EXPECT_EQ(options->max_tokens, 12u);
  EXPECT_EQ(options->max_batch_tokens, 8u);
  EXPECT_EQ(options->max_queue, 2u);
  EXPECT_EQ(options->result_buffer_mb, 1u);
  EXPECT_EQ(options->stall_timeout, absl::Milliseconds(500));
  EXPECT_EQ(options->grace_period, absl::Seconds(7));
}

TEST(Options, SeveralDevicesHaveCommasBetweenThem) {
  EXPECT_THAT(ParseOptions({"--model=m"})->devices, ElementsAre("cpu"));
  EXPECT_THAT(ParseOptions({"--model=m", "--device=cuda:1,cuda:0"})->devices,
              ElementsAre("cuda:1", "cuda:0"));
}

TEST(Options, AnUnknownFlagNamesTheNearest) {
  EXPECT_THAT(ErrorOf({"--modle", "dir"}), HasSubstr("did you mean --model?"));
  EXPECT_THAT(ErrorOf({"--max-token=3"}), HasSubstr("did you mean --max-tokens?"));
}

TEST(Options, ABadValueSaysWhatWouldBeRight) {
  EXPECT_THAT(ErrorOf({"--model=m", "--threads=0"}), HasSubstr("from 1 to 4096"));
  EXPECT_THAT(ErrorOf({"--model=m", "--threads=two"}), HasSubstr("--threads: 'two'"));
  EXPECT_THAT(ErrorOf({"--model=m", "--threads=-1"}), HasSubstr("from 1 to 4096"));
  EXPECT_THAT(ErrorOf({"--model=m", "--dtype=fp16"}), HasSubstr("auto, float32, bfloat16"));
  EXPECT_THAT(ErrorOf({"--model=m", "--listen=7431"}), HasSubstr("host:port"));
  EXPECT_THAT(ErrorOf({"--model=m", "--listen=localhost:99999"}), HasSubstr("host:port"));
  EXPECT_THAT(ErrorOf({"--model=m", "--listen=unix:"}), HasSubstr("unix:PATH"));
  for (const char* device : {"--device=", "--device=cuda:", "--device=cuda:x", "--device=CUDA",
                             "--device=cuda:0,", "--device=cuda:0;cuda:1", "--device=:1"}) {
    EXPECT_THAT(ErrorOf({"--model=m", device}), HasSubstr("cpu, cuda, cuda:<n>, or several"));
  }
  EXPECT_THAT(ErrorOf({"--model=m", "--stall-timeout=nan"}), HasSubstr("seconds"));
  EXPECT_THAT(ErrorOf({"--model="}), HasSubstr("a directory"));
}

TEST(Options, WhatIsMissingIsNamed) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("--model DIR"));
  EXPECT_THAT(ErrorOf({"--model"}), HasSubstr("--model needs a value"));
  EXPECT_THAT(ErrorOf({"--help=yes"}), HasSubstr("takes no value"));
  EXPECT_THAT(ErrorOf({"dir"}), HasSubstr("'dir' is no flag"));
}

TEST(Options, HelpAndVersionNeedNothingElse) {
  EXPECT_TRUE(ParseOptions({"--help"})->help);
  EXPECT_TRUE(ParseOptions({"-h"})->help);
  EXPECT_TRUE(ParseOptions({"--version", "--threads=x"})->version);
}

TEST(Options, HelpListsEveryFlag) {
  for (const char* name : {"model",
                           "listen",
                           "device",
                           "dtype",
                           "numerics",
                           "threads",
                           "log-format",
                           "log-level",
                           "max-result-mb",
                           "max-tokens",
                           "max-batch-tokens",
                           "max-queue",
                           "result-buffer-mb",
                           "shared-memory-mb",
                           "stall-timeout",
                           "grace-period",
                           "digest-cache",
                           "strict",
                           "config",
                           "version",
                           "help"}) {
    EXPECT_THAT(HelpText(), HasSubstr(std::string("--") + name));
  }
}

TEST(Options, HelpShowsTheDefaultsThatParsingGives) {
  const Options options = *ParseOptions({"--model=m"});
  for (const auto& [flag, value] :
       {std::pair<std::string, std::string>{"listen", "127.0.0.1:7431"},
        {"device", "cpu"},
        {"dtype", "auto"},
        {"numerics", "fast"},
        {"log-level", "info"},
        {"max-queue", absl::StrCat(options.max_queue)},
        {"max-tokens", absl::StrCat(options.max_tokens)},
        {"shared-memory-mb", absl::StrCat(options.shared_memory_mb)},
        {"stall-timeout", "60"},
        {"max-queue-time", "300"},
        {"max-batch-tokens", absl::StrCat(MaxBatchTokens(options, /*on_cpu=*/true),
                                          " on cpu, else ", Limits().max_batch_tokens)},
        {"serve-weights", "true"}}) {
    EXPECT_THAT(HelpText(), ::testing::ContainsRegex(
                                absl::StrCat("--", flag, " [^\n]*\\(default ", value, "\\)\n")));
  }
}

TEST(Options, EveryPartHasTheSameDefaultOfTheTokensOfAPass) {
  const Options options = *ParseOptions({"--model=m"});
  EXPECT_EQ(MaxBatchTokens(options, /*on_cpu=*/false), Limits().max_batch_tokens);
  EXPECT_EQ(MaxBatchTokens(options, /*on_cpu=*/false), Executor::Options().max_batch_tokens);
  EXPECT_EQ(static_cast<uint64_t>(Limits().max_batch_tokens),
            BatchScheduler::Options().max_batch_tokens);
  const Options given = *ParseOptions({"--model=m", "--max-batch-tokens=5"});
  EXPECT_EQ(MaxBatchTokens(given, /*on_cpu=*/true), 5);
}

TEST(Options, ComeFromAFileAndFlagsWin) {
  const std::string path =
      WriteConfig("model = \"m\"\nmax-queue = 9\nmax-tokens = 7\nstall-timeout = 1.5\n");
  const absl::StatusOr<Options> options = ParseOptions({"--max-queue=3", "--config", path});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model, "m");
  EXPECT_EQ(options->max_queue, 3u);
  EXPECT_EQ(options->max_tokens, 7u);
  EXPECT_EQ(options->stall_timeout, absl::Milliseconds(1500));
}

TEST(Options, ListenAtAUnixSocket) {
  EXPECT_EQ(ParseOptions({"--model=m", "--listen=unix:/run/hookwired.sock"})->listen.ToString(),
            "unix:/run/hookwired.sock");
}

TEST(Options, SharedMemoryCanBeTurnedOff) {
  EXPECT_EQ(ParseOptions({"--model=m"})->shared_memory_mb, 1024u);
  EXPECT_EQ(ParseOptions({"--model=m", "--shared-memory-mb=0"})->shared_memory_mb, 0u);
}

TEST(Options, WeightsAreServedUnlessToldOtherwise) {
  EXPECT_TRUE(ParseOptions({"--model", "m"})->serve_weights);
  EXPECT_FALSE(ParseOptions({"--model", "m", "--serve-weights", "false"})->serve_weights);
  const std::string path = WriteConfig("model = \"m\"\nserve-weights = false\n");
  EXPECT_FALSE(ParseOptions({"--config", path})->serve_weights);
  EXPECT_TRUE(ParseOptions({"--config", path, "--serve-weights=true"})->serve_weights);
  EXPECT_THAT(ErrorOf({"--model", "m", "--serve-weights", "maybe"}), HasSubstr("true, false"));
}

TEST(Options, DigestsAreKeptUnlessToldOtherwise) {
  EXPECT_EQ(ParseOptions({"--model", "m"})->digest_cache, DigestCache::DefaultDirectory());
  EXPECT_EQ(ParseOptions({"--model", "m", "--digest-cache", "/x"})->digest_cache, "/x");
  EXPECT_EQ(ParseOptions({"--model", "m", "--digest-cache", ""})->digest_cache, "");
  const std::string path = WriteConfig("model = \"m\"\ndigest-cache = \"\"\n");
  EXPECT_EQ(ParseOptions({"--config", path})->digest_cache, "");
}

TEST(Options, StrictIsASwitchAndAKeyOfTheFile) {
  EXPECT_FALSE(ParseOptions({"--model=m"})->strict);
  EXPECT_TRUE(ParseOptions({"--model=m", "--strict"})->strict);
  EXPECT_TRUE(ParseOptions({"--model=m", "--config", WriteConfig("strict = true\n")})->strict);
  EXPECT_FALSE(ParseOptions({"--model=m", "--config", WriteConfig("strict = false\n")})->strict);
  EXPECT_THAT(ErrorOf({"--model=m", "--config", WriteConfig("strict = 2\n")}),
              HasSubstr("expected true, false"));
  EXPECT_THAT(ErrorOf({"--model=m", "--config", WriteConfig("help = true\n")}),
              HasSubstr("no such key"));
}

TEST(Options, AFlagThatIsLikeNoneGetsNoSuggestion) {
  EXPECT_THAT(ErrorOf({"--temperature=1"}),
              ::testing::AllOf(HasSubstr("there is no flag --temperature"), HasSubstr("--help"),
                               ::testing::Not(HasSubstr("did you mean"))));
}

TEST(Options, AWrongFileIsToldWithItsLine) {
  EXPECT_THAT(
      ErrorOf({"--config", WriteConfig("model = \"m\"\nmax-quue = 3\n")}),
      ::testing::AllOf(HasSubstr(".toml:2: max-quue"), HasSubstr("did you mean max-queue?")));
  EXPECT_THAT(ErrorOf({"--config", WriteConfig("threads = 0\n")}), HasSubstr("from 1 to 4096"));
  EXPECT_THAT(ErrorOf({"--config", WriteConfig("threads = [1]\n")}),
              HasSubstr("a string or a number"));
  EXPECT_THAT(ErrorOf({"--config", WriteConfig("threads = = 1\n")}), HasSubstr(".toml:1"));
  EXPECT_THAT(ErrorOf({"--config", WriteConfig("help = true\n")}), HasSubstr("no such key"));
  EXPECT_THAT(ErrorOf({"--config", "/nowhere.toml"}), HasSubstr("/nowhere.toml"));
}

}  // namespace
}  // namespace hookwire::server
