#include "server/options.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "model/adapter/nearest.h"
#include "server/plan/pass_tokens.h"

namespace hookwire::server {
namespace {

// Parses a flag's value into the options. The error says what the value should have been.
using Setter = absl::Status (*)(const std::string& value, Options& options);
// The value as the flag takes it.
using Getter = std::string (*)(const Options& options);

struct Flag {
  std::string_view name;
  // The placeholder of the value in the help; empty for a switch, which takes no value.
  std::string_view value;
  std::string_view help;
  Setter set;
  // For the default in the help. Null where the help says it in words, or where there is none.
  Getter get = nullptr;
};

absl::Status Expected(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", std::string(what)));
}

// The value of an option that may be optional.
template <typename T>
struct ValueOf {
  using Type = T;
};
template <typename T>
struct ValueOf<std::optional<T>> {
  using Type = T;
};

// A flag for an option that is a whole number from kLeast to kMost, or nullopt by default.
template <auto kOption, uint64_t kLeast, uint64_t kMost>
constexpr Flag Number(std::string_view name, std::string_view help) {
  using Option = std::decay_t<decltype(std::declval<Options>().*kOption)>;
  using Value = typename ValueOf<Option>::Type;
  Flag flag{name, "N", help, [](const std::string& value, Options& options) {
              uint64_t number = 0;
              if (!absl::SimpleAtoi(value, &number) || number < kLeast || number > kMost) {
                return Expected(absl::StrCat("a whole number from ", kLeast, " to ", kMost));
              }
              options.*kOption = static_cast<Value>(number);
              return absl::OkStatus();
            }};
  if constexpr (std::is_same_v<Option, Value>) {
    flag.get = [](const Options& options) { return absl::StrCat(options.*kOption); };
  }
  return flag;
}

// For an option that is nullopt by default: `get` says what that means.
constexpr Flag WithDefault(Flag flag, Getter get) {
  flag.get = get;
  return flag;
}

template <auto kOption>
constexpr Flag Seconds(std::string_view name, std::string_view help) {
  return {
      name, "SECONDS", help,
      [](const std::string& value, Options& options) {
        double seconds = 0;
        if (!absl::SimpleAtod(value, &seconds) || !(seconds > 0) || seconds > 1e9) {
          return Expected("a number of seconds above 0");
        }
        options.*kOption = absl::Seconds(seconds);
        return absl::OkStatus();
      },
      [](const Options& options) { return absl::StrCat(absl::ToDoubleSeconds(options.*kOption)); }};
}

template <typename T>
struct Choice {
  std::string_view name;
  T value;
};

constexpr Choice<std::optional<at::ScalarType>> kDtypes[] = {
    {"auto", std::nullopt}, {"float32", at::kFloat}, {"bfloat16", at::kBFloat16}};
constexpr Choice<model::Numerics> kNumerics[] = {{"fast", model::Numerics::kFast},
                                                 {"invariant", model::Numerics::kInvariant},
                                                 {"reference", model::Numerics::kReference}};
constexpr Choice<LogFormat> kLogFormats[] = {{"text", LogFormat::kText},
                                             {"json", LogFormat::kJson}};
constexpr Choice<spdlog::level::level_enum> kLogLevels[] = {
    {"trace", spdlog::level::trace}, {"debug", spdlog::level::debug}, {"info", spdlog::level::info},
    {"warn", spdlog::level::warn},   {"error", spdlog::level::err},   {"off", spdlog::level::off}};
constexpr Choice<bool> kTruth[] = {{"true", true}, {"false", false}};

// A flag for an option that has one of a few values.
template <auto kOption, const auto& kChoices>
constexpr Flag OneOf(std::string_view name, std::string_view placeholder, std::string_view help) {
  return {name, placeholder, help,
          [](const std::string& value, Options& options) {
            std::vector<std::string> names;
            for (const auto& choice : kChoices) {
              if (choice.name == value) {
                options.*kOption = choice.value;
                return absl::OkStatus();
              }
              names.emplace_back(choice.name);
            }
            return Expected(absl::StrJoin(names, ", "));
          },
          [](const Options& options) {
            for (const auto& choice : kChoices) {
              if (choice.value == options.*kOption) return std::string(choice.name);
            }
            return std::string();
          }};
}

absl::Status SetModel(const std::string& value, Options& options) {
  if (value.empty()) return Expected("a directory");
  options.model = value;
  return absl::OkStatus();
}

absl::Status SetListen(const std::string& value, Options& options) {
  absl::StatusOr<ListenAddress> address = ParseListenAddress(value);
  if (!address.ok()) {
    return Expected(
        absl::StrCat("host:port, as in 127.0.0.1:7431, or unix:PATH with a path of at "
                     "most ",
                     kMaxUnixName, " bytes"));
  }
  options.listen = *std::move(address);
  return absl::OkStatus();
}

absl::Status SetDevice(const std::string& value, Options& options) {
  options.devices = absl::StrSplit(value, ',');
  for (const std::string& name : options.devices) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(name, absl::MaxSplits(':', 1));
    uint32_t index = 0;
    const bool has_kind = !parts.first.empty() &&
                          std::all_of(parts.first.begin(), parts.first.end(), absl::ascii_islower);
    const bool has_index = parts.first.size() == name.size() ||
                           (absl::SimpleAtoi(parts.second, &index) && index < 128);
    if (!has_kind || !has_index) {
      return Expected("cpu, cuda, cuda:<n>, or several devices separated by commas");
    }
  }
  return absl::OkStatus();
}

constexpr uint64_t kMaxMegabytes = uint64_t{1} << 40;
constexpr uint64_t kMaxTokens = std::numeric_limits<uint32_t>::max();

// In the order of the help.
constexpr std::array kFlags = {
    Flag{"model", "DIR", "checkpoint directory, as save_pretrained writes it (required)", SetModel},
    Flag{"listen", "HOST:PORT",
         "where to listen; port 0 picks a free one; unix:PATH is a Unix socket", SetListen,
         [](const Options& options) { return options.listen.ToString(); }},
    Flag{"device", "DEVICE",
         "cpu, cuda, cuda:<n>, or several separated by commas, among which the layers are divided",
         SetDevice, [](const Options& options) { return absl::StrJoin(options.devices, ","); }},
    OneOf<&Options::dtype, kDtypes>(
        "dtype", "DTYPE", "dtype to compute in: auto (the checkpoint's own), float32 or bfloat16"),
    OneOf<&Options::numerics, kNumerics>(
        "numerics", "MODE",
        "fast; invariant: a run's bits do not depend on the runs in the same pass; reference: the "
        "bits of Transformers"),
    Number<&Options::threads, 1, 4096>("threads", "compute threads (default: one for each core)"),
    OneOf<&Options::log_format, kLogFormats>("log-format", "FORMAT", "text or json"),
    OneOf<&Options::log_level, kLogLevels>("log-level", "LEVEL",
                                           "trace, debug, info, warn, error or off"),
    Number<&Options::max_result_mb, 0, kMaxMegabytes>(
        "max-result-mb", "largest result of one run, in MiB; 0: no limit"),
    Number<&Options::max_activation_mb, 0, kMaxMegabytes>(
        "max-activation-mb",
        "most memory that the forward passes under way may use together, weights not counted, in "
        "MiB; 0: no limit (default: half of the free memory at the start)"),
    Number<&Options::max_tokens, 1, kMaxTokens>("max-tokens", "most tokens of one run"),
    WithDefault(
        Number<&Options::max_batch_tokens, 1, kMaxTokens>(
            "max-batch-tokens",
            "most tokens of one forward pass; a run of several sequences that has more is divided "
            "among several passes"),
        [](const Options& options) {
          return absl::StrCat(MaxBatchTokens(options, /*on_cpu=*/true), " on cpu, else ",
                              MaxBatchTokens(options, /*on_cpu=*/false));
        }),
    Number<&Options::max_batch_delay_us, 0, 1'000'000>(
        "max-batch-delay-us",
        "how long a pass with room for more runs waits for them, in microseconds"),
    Number<&Options::max_upload_mb, 0, kMaxMegabytes>("max-upload-mb",
                                                      "most data that one run may upload, in MiB"),
    Number<&Options::request_memory_mb, 1, kMaxMegabytes>(
        "request-memory-mb",
        "most memory that all requests hold while they are sent and run (messages, uploads, plans, "
        "1 KiB for each tensor), in MiB; one client may have half of what the others leave "
        "(default: 256 + 4 times --max-upload-mb)"),
    Number<&Options::max_calls, 1, 1'000'000>(
        "max-calls", "most open calls of one client (default: twice --max-queue, at least 1024)"),
    Number<&Options::max_interactive, 1, 256>(
        "max-interactive", "most passes that may wait for a client's function at the same time"),
    Seconds<&Options::hook_timeout>(
        "hook-timeout",
        "how long a pass may wait for a client's function while another run needs its slot"),
    Number<&Options::max_paced, 1, 256>(
        "max-paced", "most passes that may wait for a slow reader at the same time"),
    Number<&Options::max_queue, 1, 1'000'000>(
        "max-queue",
        "most runs in the queue; one client may fill half of the places that others leave"),
    Seconds<&Options::max_queue_time>("max-queue-time", "how long a run may be in the queue"),
    Number<&Options::result_buffer_mb, 1, kMaxMegabytes>(
        "result-buffer-mb",
        "most memory for results that have been computed and not yet sent, in MiB"),
    Number<&Options::shared_memory_mb, 0, (uint64_t{1} << 24)>(
        "shared-memory-mb",
        "most shared memory for large results of clients on this host, in MiB; 0: none"),
    Seconds<&Options::stall_timeout>(
        "stall-timeout",
        "end a call whose client reads nothing, or sends no whole message of its request, for this "
        "long"),
    Seconds<&Options::grace_period>(
        "grace-period",
        "how long runs may go on after SIGTERM or SIGINT before they are cancelled; a second "
        "signal cancels them at once"),
    Flag{"digest-cache", "DIR",
         "directory that keeps digests of weight files, so that a start need not read the files "
         "again; '': keep none (default $XDG_CACHE_HOME/hookwire/digests, or in ~/.cache)",
         [](const std::string& value, Options& options) {
           options.digest_cache = value;
           return absl::OkStatus();
         }},
    OneOf<&Options::strict, kTruth>(
        "strict", "",
        "refuse to start if the checkpoint has tensors or weight files that nothing reads; without "
        "it they are a warning (in a file: strict = true)"),
    OneOf<&Options::serve_weights, kTruth>(
        "serve-weights", "BOOL", "let clients read the model's parameters: true or false"),
    Flag{"config", "FILE",
         "TOML file with the same names as keys, for example max-queue = 8; flags override it",
         nullptr},
    Flag{"version", "", "print the version and exit",
         [](const std::string&, Options& options) {
           options.version = true;
           return absl::OkStatus();
         }},
    Flag{"help", "", "print this and exit",
         [](const std::string&, Options& options) {
           options.help = true;
           return absl::OkStatus();
         }},
};

const Flag* Find(std::string_view name) {
  const auto it = std::find_if(kFlags.begin(), kFlags.end(),
                               [name](const Flag& flag) { return flag.name == name; });
  return it == kFlags.end() ? nullptr : &*it;
}

std::string Nearest(std::string_view name) {
  std::vector<std::string> names;
  names.reserve(kFlags.size());
  for (const Flag& flag : kFlags) names.emplace_back(flag.name);
  return model::NearestName(std::string(name), names);
}

absl::Status Set(const Flag& flag, const std::string& value, std::string_view shown_name,
                 Options& options) {
  if (absl::Status status = flag.set(value, options); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(shown_name), ": '", value, "' is wrong: ", status.message()));
  }
  return absl::OkStatus();
}

// A flag of the command line with its value.
struct Given {
  const Flag* flag;
  std::string value;
};

absl::StatusOr<std::vector<Given>> Split(const std::vector<std::string>& arguments) {
  std::vector<Given> out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h") {
      out.push_back({Find("help"), ""});
      continue;
    }
    if (!absl::StartsWith(argument, "--") || argument.size() == 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", argument, "' is no flag; the checkpoint directory is --model DIR"));
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const Flag* const flag = Find(name);
    if (flag == nullptr) {
      const std::string near = Nearest(name);
      return absl::InvalidArgumentError(
          absl::StrCat("there is no flag --", name,
                       model::DidYouMean(near.empty() ? "" : absl::StrCat("--", near), ""),
                       " (--help lists them)"));
    }
    const bool is_switch = flag->value.empty();
    if (equals != std::string::npos) {
      if (is_switch) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " takes no value"));
      }
      out.push_back({flag, argument.substr(equals + 1)});
    } else if (is_switch) {
      out.push_back({flag, "true"});
    } else if (i + 1 < arguments.size()) {
      out.push_back({flag, arguments[++i]});
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " needs a value: --", name, " ", std::string(flag->value)));
    }
  }
  return out;
}

absl::Status ReadConfig(const std::string& path, Options& options) {
  const toml::parse_result parsed = toml::parse_file(path);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    const auto line = error.source().begin.line;
    return absl::InvalidArgumentError(absl::StrCat(path, line == 0 ? "" : absl::StrCat(":", line),
                                                   ": ", std::string(error.description())));
  }
  for (const auto& [key, node] : parsed.table()) {
    const std::string name(key.str());
    const std::string place = absl::StrCat(path, ":", node.source().begin.line, ": ", name);
    const Flag* const flag = Find(name);
    // These three make sense on the command line only.
    const bool allowed = flag != nullptr && name != "config" && name != "version" && name != "help";
    if (!allowed) {
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": there is no such key",
                       model::DidYouMean(Nearest(name), "; they are the flags that --help lists")));
    }
    std::string value;
    if (const auto* text = node.as_string()) {
      value = text->get();
    } else if (const auto* truth = node.as_boolean()) {
      value = truth->get() ? "true" : "false";
    } else if (const auto* whole = node.as_integer()) {
      value = absl::StrCat(whole->get());
    } else if (const auto* number = node.as_floating_point()) {
      value = absl::StrCat(number->get());
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": expected true or false, a string or a number"));
    }
    if (absl::Status status = Set(*flag, value, place, options); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments) {
  absl::StatusOr<std::vector<Given>> given = Split(arguments);
  if (!given.ok()) return given.status();
  Options options;
  const Given* config = nullptr;
  for (const Given& one : *given) {
    if (one.flag->set == nullptr) config = &one;
    if (one.flag->name == "help") options.help = true;
    if (one.flag->name == "version") options.version = true;
  }
  if (options.help || options.version) return options;

  if (config != nullptr) {
    if (absl::Status status = ReadConfig(config->value, options); !status.ok()) return status;
  }
  for (const Given& one : *given) {
    if (one.flag->set == nullptr) continue;
    const std::string name = absl::StrCat("--", std::string(one.flag->name));
    if (absl::Status status = Set(*one.flag, one.value, name, options); !status.ok()) return status;
  }
  if (options.model.empty()) {
    return absl::InvalidArgumentError("--model DIR is missing: the checkpoint directory to serve");
  }
  return options;
}

uint64_t RequestMemoryMb(const Options& options) {
  return options.request_memory_mb.value_or(256 + 4 * options.max_upload_mb);
}

int64_t MaxBatchTokens(const Options& options, bool on_cpu) {
  if (options.max_batch_tokens.has_value()) return static_cast<int64_t>(*options.max_batch_tokens);
  return on_cpu ? kDefaultPassTokensOnCpu : kDefaultPassTokens;
}

size_t MaxCalls(const Options& options) {
  return options.max_calls.value_or(std::max<size_t>(1024, 2 * options.max_queue));
}

std::string HelpText() {
  std::string text =
      "usage: hookwired --model DIR [flag ...]\n\n"
      "Serves the activations of a Gemma 4 checkpoint over gRPC. Prints one line with its address "
      "to\n"
      "stdout when it is ready; logs go to stderr. SIGTERM or SIGINT ends it.\n\n";
  for (const Flag& flag : kFlags) {
    const std::string left = absl::StrCat("--", std::string(flag.name),
                                          flag.value.empty() ? "" : " ", std::string(flag.value));
    const std::string shown_default =
        flag.get == nullptr ? "" : absl::StrCat(" (default ", flag.get(Options()), ")");
    absl::StrAppend(&text,
                    absl::StrFormat("  %-24s %s%s\n", left, std::string(flag.help), shown_default));
  }
  return text;
}

}  // namespace hookwire::server
