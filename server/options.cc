#include "server/options.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

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

namespace hookwire::server {
namespace {

// Parses a flag's value into the options. The error says what the value should have been.
using Setter = absl::Status (*)(const std::string& value, Options& options);

struct Flag {
  std::string_view name;
  // The placeholder of the value in the help; empty for a switch, which takes no value.
  std::string_view value;
  std::string_view help;
  Setter set;
};

absl::Status Expected(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", std::string(what)));
}

template <typename Number>
absl::Status SetNumber(const std::string& value, uint64_t least, uint64_t most, Number& out) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < least || number > most) {
    return Expected(absl::StrCat("a whole number from ", least, " to ", most));
  }
  out = static_cast<Number>(number);
  return absl::OkStatus();
}

absl::Status SetSeconds(const std::string& value, absl::Duration& out) {
  double seconds = 0;
  if (!absl::SimpleAtod(value, &seconds) || !(seconds > 0) || seconds > 1e9) {
    return Expected("a number of seconds above 0");
  }
  out = absl::Seconds(seconds);
  return absl::OkStatus();
}

template <typename T>
absl::Status SetChoice(const std::string& value,
                       std::initializer_list<std::pair<std::string_view, T>> choices, T& out) {
  std::vector<std::string> names;
  for (const auto& [name, choice] : choices) {
    if (value == name) {
      out = choice;
      return absl::OkStatus();
    }
    names.emplace_back(name);
  }
  return Expected(absl::StrJoin(names, ", "));
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

absl::Status SetDtype(const std::string& value, Options& options) {
  using Dtype = std::optional<at::ScalarType>;
  return SetChoice<Dtype>(
      value, {{"auto", std::nullopt}, {"float32", at::kFloat}, {"bfloat16", at::kBFloat16}},
      options.dtype);
}

constexpr uint64_t kMaxMegabytes = uint64_t{1} << 40;

// In the order of the help.
constexpr std::array kFlags = {
    Flag{"model", "DIR", "checkpoint directory, as save_pretrained writes it (required)", SetModel},
    Flag{"listen", "HOST:PORT",
         "where to listen; port 0 picks a free one; unix:PATH is a Unix socket (default "
         "127.0.0.1:7431)",
         SetListen},
    Flag{"device", "DEVICE",
         "cpu, cuda, cuda:<n>, or several separated by commas, among which the layers are divided "
         "(default cpu)",
         SetDevice},
    Flag{"dtype", "DTYPE",
         "dtype to compute in: auto (the checkpoint's own), float32 or bfloat16 (default auto)",
         SetDtype},
    Flag{"numerics", "MODE",
         "fast; invariant: a run's bits do not depend on the runs in the same pass; reference: the "
         "bits of Transformers (default fast)",
         [](const std::string& value, Options& options) {
           return SetChoice<model::Numerics>(value,
                                             {{"fast", model::Numerics::kFast},
                                              {"invariant", model::Numerics::kInvariant},
                                              {"reference", model::Numerics::kReference}},
                                             options.numerics);
         }},
    Flag{"threads", "N", "compute threads (default: one for each core)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 1, 4096, options.threads);
         }},
    Flag{"log-format", "FORMAT", "text or json (default text)",
         [](const std::string& value, Options& options) {
           return SetChoice<LogFormat>(
               value, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}, options.log_format);
         }},
    Flag{"log-level", "LEVEL", "trace, debug, info, warn, error or off (default info)",
         [](const std::string& value, Options& options) {
           return SetChoice<spdlog::level::level_enum>(value,
                                                       {{"trace", spdlog::level::trace},
                                                        {"debug", spdlog::level::debug},
                                                        {"info", spdlog::level::info},
                                                        {"warn", spdlog::level::warn},
                                                        {"error", spdlog::level::err},
                                                        {"off", spdlog::level::off}},
                                                       options.log_level);
         }},
    Flag{"max-result-mb", "N", "largest result of one run, in MiB; 0: no limit (default 8192)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 0, kMaxMegabytes, options.max_result_mb);
         }},
    Flag{"max-activation-mb", "N",
         "most memory that the forward passes under way may use together, weights not counted, in "
         "MiB; 0: no limit (default: half of the free memory at the start)",
         [](const std::string& value, Options& options) {
           uint64_t megabytes = 0;
           absl::Status status = SetNumber(value, 0, kMaxMegabytes, megabytes);
           if (status.ok()) options.max_activation_mb = megabytes;
           return status;
         }},
    Flag{"max-tokens", "N", "most tokens of one run (default 65536)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 1, std::numeric_limits<uint32_t>::max(), options.max_tokens);
         }},
    Flag{"max-batch-tokens", "N",
         "most tokens of one forward pass; a run of several sequences that has more is divided "
         "among several passes (default 1024 on cpu, else 8192)",
         [](const std::string& value, Options& options) {
           uint64_t tokens = 0;
           absl::Status status = SetNumber(value, 1, std::numeric_limits<uint32_t>::max(), tokens);
           if (status.ok()) options.max_batch_tokens = tokens;
           return status;
         }},
    Flag{"max-batch-delay-us", "N",
         "how long a pass with room for more runs waits for them, in microseconds (default 0)",
         [](const std::string& value, Options& options) {
           uint32_t microseconds = 0;
           absl::Status status = SetNumber(value, 0, 1'000'000, microseconds);
           if (status.ok()) options.max_batch_delay = absl::Microseconds(microseconds);
           return status;
         }},
    Flag{"max-upload-mb", "N", "most data that one run may upload, in MiB (default 1024)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 0, kMaxMegabytes, options.max_upload_mb);
         }},
    Flag{
        "request-memory-mb", "N",
        "most memory that all requests hold before and while they run (uploads, plans, 1 KiB for "
        "each tensor), in MiB; one client may have half of what the others leave (default: 256 + 4 "
        "times --max-upload-mb)",
        [](const std::string& value, Options& options) {
          uint64_t megabytes = 0;
          absl::Status status = SetNumber(value, 1, kMaxMegabytes, megabytes);
          if (status.ok()) options.request_memory_mb = megabytes;
          return status;
        }},
    Flag{"max-calls", "N",
         "most open calls of one client (default: twice --max-queue, at least 1024)",
         [](const std::string& value, Options& options) {
           size_t calls = 0;
           absl::Status status = SetNumber(value, 1, 1'000'000, calls);
           if (status.ok()) options.max_calls = calls;
           return status;
         }},
    Flag{"max-interactive", "N",
         "most passes that may wait for a client's function at the same time (default 4)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 1, 256, options.max_interactive);
         }},
    Flag{"hook-timeout", "SECONDS",
         "how long a pass may wait for a client's function while another run needs its slot "
         "(default 30)",
         [](const std::string& value, Options& options) {
           return SetSeconds(value, options.hook_timeout);
         }},
    Flag{"max-paced", "N",
         "most passes that may wait for a slow reader at the same time (default 4)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 1, 256, options.max_paced);
         }},
    Flag{"max-queue", "N",
         "most runs in the queue; one client may fill half of the places that others leave "
         "(default 1024)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 1, 1'000'000, options.max_queue);
         }},
    Flag{"max-queue-time", "SECONDS", "how long a run may be in the queue (default 300)",
         [](const std::string& value, Options& options) {
           return SetSeconds(value, options.max_queue_time);
         }},
    Flag{"result-buffer-mb", "N",
         "most memory for results that have been computed and not yet sent, in MiB (default 256)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 1, kMaxMegabytes, options.result_buffer_mb);
         }},
    Flag{"shared-memory-mb", "N",
         "most shared memory for large results of clients on this host, in MiB; 0: none (default "
         "1024)",
         [](const std::string& value, Options& options) {
           return SetNumber(value, 0, uint64_t{1} << 24, options.shared_memory_mb);
         }},
    Flag{"stall-timeout", "SECONDS",
         "end a run whose client reads nothing, or sends nothing of its request, for this long "
         "(default 60)",
         [](const std::string& value, Options& options) {
           return SetSeconds(value, options.stall_timeout);
         }},
    Flag{"grace-period", "SECONDS",
         "how long runs may go on after SIGTERM or SIGINT before they are cancelled; a second "
         "signal "
         "cancels them at once (default 30)",
         [](const std::string& value, Options& options) {
           return SetSeconds(value, options.grace_period);
         }},
    Flag{"digest-cache", "DIR",
         "directory that keeps digests of weight files, so that a start need not read the files "
         "again; '': keep none (default $XDG_CACHE_HOME/hookwire/digests, or in ~/.cache)",
         [](const std::string& value, Options& options) {
           options.digest_cache = value;
           return absl::OkStatus();
         }},
    Flag{"strict", "",
         "refuse to start if the checkpoint has tensors that nothing reads; without it they are a "
         "warning (in a file: strict = true)",
         [](const std::string& value, Options& options) {
           return SetChoice<bool>(value.empty() ? "true" : value,
                                  {{"true", true}, {"false", false}}, options.strict);
         }},
    Flag{"serve-weights", "BOOL",
         "let clients read the model's parameters: true or false (default true)",
         [](const std::string& value, Options& options) {
           return SetChoice<bool>(value, {{"true", true}, {"false", false}}, options.serve_weights);
         }},
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
      out.push_back({flag, ""});
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
    absl::StrAppend(&text, absl::StrFormat("  %-24s %s\n", left, std::string(flag.help)));
  }
  return text;
}

}  // namespace hookwire::server
