// hookwired as a command: flags, the ready line, and one clear line where it cannot start.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/e2e/support/daemon.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/prompts.h"

namespace hookwire::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Not a test of speed: a bound that a loaded machine keeps and a daemon that loads a model, or
// hangs, before it looks does not.
constexpr absl::Duration kSoon = absl::Seconds(15);

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

// Runs to the end; a daemon that starts to serve has the exit code -1.
Outcome RunToEnd(const std::vector<std::string>& arguments) {
  const auto process = Process::Start(HookwiredCommand(arguments));
  const int exit_code = process->Wait(kSoon).value_or(-1);
  if (exit_code == -1) return {-1, "", process->Errors()};
  return {exit_code, process->ReadRest(), process->Errors()};
}

// One line on standard error that names `names`, nothing on standard output, exit code 2.
void ExpectRefusal(const std::vector<std::string>& arguments, const std::string& names) {
  SCOPED_TRACE(absl::StrCat("hookwired ... ", arguments.empty() ? "" : arguments.back()));
  const Outcome outcome = RunToEnd(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(names));
}

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteFile(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class CommandLine : public ::testing::Test {
 protected:
  CommandLine() {
    std::string pattern = ::testing::TempDir() + "hookwire-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~CommandLine() override { fs::remove_all(directory_); }

  // A copy of the toy that a test may spoil.
  fs::path CopyToy() const {
    const fs::path copy = directory_ / "toy";
    fs::copy(ToyCheckpoint(), copy);
    return copy;
  }

  static std::vector<std::string> Serve(const fs::path& model) {
    return {"--listen", "127.0.0.1:0", "--model", model.string()};
  }

  fs::path directory_;
};

TEST_F(CommandLine, HelpNamesEveryFlag) {
  const Outcome outcome = RunToEnd({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* flag : {"--model", "--listen", "--device", "--dtype", "--numerics", "--threads",
                           "--shared-memory-mb", "--log-format", "--help", "--version"}) {
    EXPECT_THAT(outcome.out, HasSubstr(flag));
  }
}

TEST_F(CommandLine, VersionIsTheBuild) {
  const Outcome outcome = RunToEnd({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  const auto daemon = Daemon::Start();
  EXPECT_EQ(outcome.out, daemon->Connect()->GetModel()->server().build() + "\n");
}

TEST_F(CommandLine, RefusesWrongFlags) {
  const std::string toy = ToyCheckpoint();
  ExpectRefusal({}, "--model");
  ExpectRefusal({"--model"}, "--model");
  ExpectRefusal({"--model", toy, "--lisen", "127.0.0.1:0"}, "--listen");
  ExpectRefusal({"--model", toy, "surplus"}, "surplus");
  ExpectRefusal({"--model", toy, "--numerics", "exact"}, "reference");
  ExpectRefusal({"--model", toy, "--dtype", "int8"}, "bfloat16");
  ExpectRefusal({"--model", toy, "--device", "abacus"}, "abacus");
  ExpectRefusal({"--model", toy, "--threads", "0"}, "--threads");
  ExpectRefusal({"--model", toy, "--threads", "two"}, "--threads");
  ExpectRefusal({"--model", toy, "--log-format", "xml"}, "json");
  ExpectRefusal({"--model", toy, "--listen", "127.0.0.1"}, "127.0.0.1");
  ExpectRefusal({"--model", toy, "--listen", "127.0.0.1:99999"}, "99999");
  ExpectRefusal({"--model", toy, "--listen", "no.such.host.invalid:0"}, "no.such.host.invalid");
}

TEST_F(CommandLine, RefusesAnAddressInUse) {
  const auto daemon = Daemon::Start();
  ExpectRefusal({"--model", ToyCheckpoint(), "--listen", daemon->address()}, daemon->address());
  EXPECT_THAT(StatusOf(daemon->Connect()->Collect(GoodSpec())), IsOk());
}

TEST_F(CommandLine, ListensAtAUnixSocket) {
  const std::string path = directory_ / "socket";
  const std::string address = "unix:" + path;
  const std::vector<std::string> arguments = {"--model", ToyCheckpoint(), "--listen", address};
  const auto start = [&] {
    auto process = Process::Start(HookwiredCommand(arguments));
    EXPECT_EQ(process->ReadLine(absl::Seconds(60)), "hookwired ready at " + address)
        << process->Errors();
    EXPECT_THAT(StatusOf(Connect(address)->Collect(GoodSpec())), IsOk());
    return process;
  };
  {
    const auto daemon = start();
    ExpectRefusal(arguments, address + ": the address is in use");
    EXPECT_THAT(StatusOf(Connect(address)->Collect(GoodSpec())), IsOk());
    daemon->Signal(SIGKILL);
    daemon->Wait(kSoon);
  }
  EXPECT_TRUE(fs::is_socket(path)) << "what a killed daemon leaves";
  {
    const auto daemon = start();
    daemon->Signal(SIGTERM);
    EXPECT_EQ(daemon->Wait(absl::Seconds(20)), 0);
  }
  EXPECT_FALSE(fs::exists(fs::symlink_status(path)));
  WriteFile(path, "precious");
  ExpectRefusal(arguments, "it is no socket");
  EXPECT_EQ(ReadFile(path), "precious");
}

TEST_F(CommandLine, RefusesUnixSocketsThatCannotBe) {
  const std::string toy = ToyCheckpoint();
  ExpectRefusal({"--model", toy, "--listen", "unix:/nowhere/at/all"}, "No such file or directory");
  ExpectRefusal({"--model", toy, "--listen", "unix:/" + std::string(200, 'x')},
                "at most 107 bytes");
}

TEST_F(CommandLine, RefusesWhatIsNoCheckpoint) {
  const fs::path missing = directory_ / "missing";
  ExpectRefusal(Serve(missing), missing.string());
  ExpectRefusal(Serve(directory_), directory_.string());
  ExpectRefusal(Serve(fs::path(ToyCheckpoint()) / "config.json"), "config.json");
}

TEST_F(CommandLine, RefusesAModelThatIsNoGemma4) {
  const fs::path toy = CopyToy();
  WriteFile(toy / "config.json",
            R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64})");
  ExpectRefusal(Serve(toy), "llama");
}

TEST_F(CommandLine, RefusesRubbishInConfigJson) {
  const fs::path toy = CopyToy();
  for (const std::string& rubbish :
       {std::string(), std::string("{]"), std::string("null"), std::string("[1, 2]"),
        std::string(1000, '['), std::string(100'000, '{'), std::string("\xff\xfe\x00\x01", 4)}) {
    WriteFile(toy / "config.json", rubbish);
    ExpectRefusal(Serve(toy), "config.json");
  }
}

TEST_F(CommandLine, RefusesWeightsThatAreCutShort) {
  const fs::path toy = CopyToy();
  const fs::path weights = toy / "model.safetensors";
  const std::string whole = ReadFile(weights);
  for (const size_t size :
       {whole.size() - 1, whole.size() / 2, size_t{100}, size_t{7}, size_t{0}}) {
    fs::resize_file(weights, size);
    ExpectRefusal(Serve(toy), "model.safetensors");
  }
  fs::remove(weights);
  ExpectRefusal(Serve(toy), "safetensors");
}

TEST_F(CommandLine, RefusesWeightsThatDoNotFitTheConfig) {
  const fs::path toy = CopyToy();
  std::string config = ReadFile(toy / "config.json");
  const std::string width = R"("intermediate_size": 192)";
  ASSERT_NE(config.find(width), std::string::npos);
  config.replace(config.find(width), width.size(), R"("intermediate_size": 200)");
  WriteFile(toy / "config.json", config);
  ExpectRefusal(Serve(toy), "200");
}

TEST_F(CommandLine, TheReadyLineIsAllThatGoesToStandardOutput) {
  const auto process =
      Process::Start(HookwiredCommand({"--model", ToyCheckpoint(), "--listen", "127.0.0.1:0"}));
  const auto line = process->ReadLine(absl::Seconds(60));
  ASSERT_TRUE(line) << process->Errors();
  const size_t start = line->find("127.0.0.1:");
  ASSERT_NE(start, std::string::npos) << *line;
  const std::string address =
      line->substr(start, line->find_first_not_of("0123456789.:", start) - start);
  EXPECT_THAT(StatusOf(Connect(address)->Collect(GoodSpec())), IsOk());
  process->Signal(SIGTERM);
  EXPECT_EQ(process->Wait(absl::Seconds(20)), 0);
  EXPECT_EQ(process->ReadRest(), "");
}

TEST_F(CommandLine, LogsAreJsonLinesWhereAskedFor) {
  const auto daemon = Daemon::Start({"--log-format", "json"});
  EXPECT_THAT(StatusOf(daemon->Connect()->Collect(GoodSpec())), IsOk());
  daemon->process().Signal(SIGTERM);
  EXPECT_EQ(daemon->process().Wait(absl::Seconds(20)), 0);
  const std::string log = daemon->process().Errors();
  EXPECT_NE(log, "");
  for (const auto& line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    EXPECT_EQ(line.front(), '{') << line;
    EXPECT_EQ(line.back(), '}') << line;
  }
}

TEST_F(CommandLine, ComputesInTheDtypeThatIsAskedFor) {
  const auto daemon = Daemon::Start({"--dtype", "bfloat16", "--numerics", "reference"});
  const auto connected = daemon->Connect();
  const auto server = connected->GetModel()->server();
  EXPECT_EQ(server.dtype(), v1::DTYPE_BFLOAT16);
  EXPECT_EQ(server.numerics(), v1::NUMERICS_REFERENCE);
  const auto result = connected->Collect(GoodSpec());
  ASSERT_THAT(StatusOf(result), IsOk());
  EXPECT_EQ(result->tensors.at(0).dtype(), v1::DTYPE_BFLOAT16);
  EXPECT_EQ(result->receipt.dtype(), v1::DTYPE_BFLOAT16);
}

}  // namespace
}  // namespace hookwire::e2e
