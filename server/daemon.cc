#include "server/daemon.h"

#include <ATen/Parallel.h>
#include <malloc.h>
#include <sched.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "model/checkpoint/misplaced_file.h"
#include "server/device.h"
#include "server/errors/errors.h"
#include "server/memory/block_cache.h"
#include "server/observe/load_id.h"
#include "server/plan/dtypes.h"
#include "server/plan/ops.h"
#include "server/rpc/describe_model.h"
#include "server/rpc/tokenizer_files.h"
#include "server/unread_weights.h"

namespace hookwire::server {
namespace {

// How long open calls may take to end when the server closes its connections: some, such as health
// watches, never end by themselves.
constexpr absl::Duration kConnectionGrace = absl::Milliseconds(500);
// How often the weight files are checked: the longest time that health still says SERVING after
// they have changed.
constexpr absl::Duration kWeightsInterval = absl::Seconds(1);

int UsableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// The free memory of the device that has the least, in bytes.
uint64_t LeastFreeMemory(const std::vector<at::Device>& devices) {
  uint64_t bytes = std::numeric_limits<uint64_t>::max();
  for (const at::Device device : devices) bytes = std::min(bytes, FreeMemory(device));
  return bytes;
}

std::string NamesOf(const std::vector<at::Device>& devices) {
  return absl::StrJoin(devices, ",", [](std::string* out, at::Device device) {
    absl::StrAppend(out, device.str());
  });
}

Limits LimitsOf(const Options& options, const std::vector<at::Device>& devices) {
  Limits limits;
  limits.max_activation_bytes = options.max_activation_mb.has_value()
                                    ? *options.max_activation_mb * kMiB
                                    : LeastFreeMemory(devices) / 2;
  limits.max_batch_tokens = MaxBatchTokens(options, devices.front().is_cpu());
  limits.numerics = options.numerics;
  limits.max_result_bytes = options.max_result_mb * kMiB;
  limits.max_tokens = options.max_tokens;
  return limits;
}

// Null if it is turned off, or if the system does not support it.
std::unique_ptr<SharedMemory> OpenSharedMemory(const Options& options, const Clock& clock,
                                               spdlog::logger& logger) {
  if (options.shared_memory_mb == 0) return nullptr;
  absl::StatusOr<std::unique_ptr<SharedMemory>> memory =
      SharedMemory::Create({.max_bytes = options.shared_memory_mb * kMiB}, clock);
  if (memory.ok()) return *std::move(memory);
  LogEvent(logger, spdlog::level::warn, "no shared memory: all results are sent in messages",
           {{"cause", std::string(memory.status().message())}});
  return nullptr;
}

// What is wrong with a file of the tokenizer, as the end of a sentence that begins with
// "tokenizer.json is "; empty if nothing is seen. JSON is not parsed: Gemma's tokenizer.json has 32
// MiB.
std::string DamageOf(const TokenizerFiles::File& file) {
  std::string what = model::MisplacedFile(file.content);
  if (!what.empty()) return what;
  if (file.name != "tokenizer.json" && file.name != "tokenizer_config.json") return "";
  const absl::string_view text = absl::StripAsciiWhitespace(file.content);
  if (text.empty()) return "empty: download it again";
  return absl::EndsWith(text, "}") ? "" : "cut short: download it again";
}

// Logs a warning for each damaged file of the tokenizer. Clients get an error, but only when they
// ask for the tokenizer.
void WarnOfTokenizer(const TokenizerFiles& tokenizer, const std::string& directory,
                     spdlog::logger& logger) {
  for (const TokenizerFiles::File& file : tokenizer.files()) {
    const std::string what = DamageOf(file);
    if (what.empty()) continue;
    LogEvent(logger, spdlog::level::warn, "clients cannot use text, only token ids",
             {{"cause", absl::StrCat(directory, "/", file.name, " is ", what)}});
  }
}

v1::Server DescribeServer(const Options& options, const model::TextModel& model, int threads,
                          const SharedMemory* shared_memory, const std::string& load_id) {
  v1::Server out;
  out.set_load_id(load_id);
  out.set_build(BuildName());
  out.set_device(NamesOf(model.devices()));
  out.set_dtype(ToWire(model.dtype()));
  out.set_numerics(ToWire(options.numerics));
  out.set_threads(static_cast<uint32_t>(threads));
  out.set_max_request_bytes(kMaxRequestBytes);
  out.set_max_result_bytes(options.max_result_mb * kMiB);
  out.set_max_tokens(options.max_tokens);
  for (const char* capability : {"run", "plan", "logits", "log_probs", "residual", "stop_at_layer",
                                 "interact", "priority"}) {
    out.add_capabilities(capability);
  }
  for (const Op& op : kOps) out.add_capabilities(absl::StrCat("ops.", OpName(op)));
  if (options.serve_weights) out.add_capabilities("weights");
  if (shared_memory != nullptr) {
    out.add_capabilities("shared_memory");
    out.set_shared_memory_socket(shared_memory->socket());
  }
  return out;
}

// Returns free memory to the system. The blocks that a layer has freed lie between tensors that are
// still to be sent, and the C library would keep them. Sanitizers have an allocator of their own,
// so malloc_trim would do nothing.
void GiveMemoryBack() {
  BlockCache::Global().GiveBack();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  malloc_trim(0);
#endif
}

v1::Model Describe(const model::Checkpoint& checkpoint, const model::TextModel& model,
                   const std::vector<model::UnreadFile>& unread_files) {
  v1::Model out = DescribeModel(model.config(), {checkpoint.name(), model.layer_scalars(),
                                                 model.n_params(), model.unread_tensors()});
  DescribeUnreadFiles(unread_files, out);
  return out;
}

// The ingredients are all that a client's results depend on, and all that it reads when it
// connects, but for the names of weight files that are not read.
absl::StatusOr<std::string> LoadIdOf(const model::Checkpoint& checkpoint,
                                     const TokenizerFiles& tokenizer, const model::TextModel& model,
                                     model::Numerics numerics) {
  LoadIngredients ingredients;
  ingredients.name = checkpoint.name();
  for (const auto& file : checkpoint.weight_files()) ingredients.weights.push_back(file->stamp());
  ingredients.small_files = {{"config.json", checkpoint.config_text()}};
  for (const TokenizerFiles::File& file : tokenizer.files()) {
    ingredients.small_files.emplace_back(file.name, file.content);
  }
  ingredients.settings = {v1::Dtype_Name(ToWire(model.dtype())),
                          v1::Numerics_Name(ToWire(numerics)), NamesOf(model.devices()),
                          BuildName()};
  return LoadId(ingredients);
}

}  // namespace

std::string BuildName() {
  return absl::StrCat("hookwired ", HOOKWIRE_VERSION, " (libtorch ", TORCH_VERSION_MAJOR, ".",
                      TORCH_VERSION_MINOR, ".", TORCH_VERSION_PATCH, ")");
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const Options& options,
                                                      std::shared_ptr<spdlog::logger> logger) {
  if (absl::Status status = CheckCanListen(options.listen); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<const model::Checkpoint>> checkpoint =
      model::Checkpoint::Open(options.model);
  if (!checkpoint.ok()) return checkpoint.status();
  if (const absl::Status& watch = (*checkpoint)->watch_status(); !watch.ok()) {
    LogEvent(*logger, spdlog::level::warn,
             "a write to a weight file goes unseen if the writer resets the file's time",
             {{"cause", std::string(watch.message())}});
  }
  absl::StatusOr<TokenizerFiles> tokenizer = TokenizerFiles::Read(options.model);
  if (!tokenizer.ok()) return tokenizer.status();
  WarnOfTokenizer(*tokenizer, options.model, *logger);
  const absl::StatusOr<std::vector<at::Device>> devices = OpenDevices(options.devices);
  if (!devices.ok()) return devices.status();
  std::vector<model::DeviceRoom> room;
  for (const at::Device device : *devices) room.push_back({device, FreeMemory(device)});

  const int threads = options.threads.value_or(UsableCores());
  at::set_num_threads(threads);
  const absl::Time start = absl::Now();
  absl::StatusOr<std::unique_ptr<const model::TextModel>> model = model::TextModel::Load(
      *checkpoint, {.dtype = options.dtype,
                    .devices = std::move(room),
                    .invariant = options.numerics == model::Numerics::kInvariant});
  if (!model.ok()) return model.status();
  if (const auto change = (*checkpoint)->Change()) {
    return absl::FailedPreconditionError(
        absl::StrCat(change->path, " changed while it was loaded: ", change->what));
  }
  absl::StatusOr<std::vector<model::UnreadFile>> unread_files =
      ReportUnread(**checkpoint, (*model)->unread_tensors(), options.strict, *logger);
  if (!unread_files.ok()) return unread_files.status();
  LogEvent(*logger, spdlog::level::info, "model loaded",
           {{"model", (*checkpoint)->directory()},
            {"dtype", DtypeName((*model)->dtype())},
            {"device", NamesOf((*model)->devices())},
            {"params", (*model)->n_params()},
            {"threads", threads},
            {"ms", absl::ToInt64Milliseconds(absl::Now() - start)}});

  absl::StatusOr<std::string> load_id =
      LoadIdOf(**checkpoint, *tokenizer, **model, options.numerics);
  if (!load_id.ok()) return load_id.status();
  std::unique_ptr<Daemon> daemon(new Daemon(options, std::move(logger), *std::move(checkpoint),
                                            *std::move(tokenizer), *std::move(model), *unread_files,
                                            threads, *load_id));
  daemon->budget_->NotifyRoom([scheduler = &daemon->scheduler_] { scheduler->RoomCameFree(); });
  absl::StatusOr<std::unique_ptr<RpcServer>> rpc =
      RpcServer::Start(daemon->backend_, options.listen);
  if (!rpc.ok()) return rpc.status();
  daemon->rpc_ = *std::move(rpc);
  daemon->WatchWeights();
  return daemon;
}

Daemon::Daemon(const Options& options, std::shared_ptr<spdlog::logger> logger,
               std::shared_ptr<const model::Checkpoint> checkpoint, TokenizerFiles tokenizer,
               std::unique_ptr<const model::TextModel> model,
               const std::vector<model::UnreadFile>& unread_files, int threads,
               const std::string& load_id)
    : logger_(std::move(logger)),
      checkpoint_(std::move(checkpoint)),
      model_(std::move(model)),
      digest_(checkpoint_->weight_files(), {.cache_directory = options.digest_cache}),
      weights_guard_([this] { return checkpoint_->Change(); }),
      limits_(LimitsOf(options, model_->devices())),
      planner_(*model_, limits_),
      executor_(*model_,
                {.numerics = options.numerics, .max_batch_tokens = limits_.max_batch_tokens}),
      budget_(ByteBudget::Create(options.result_buffer_mb * kMiB,
                                 options.max_paced + options.max_interactive)),
      request_memory_(RequestMemory::Create(WithoutReads(RequestMemoryMb(options) * kMiB))),
      streams_(options.stall_timeout, clock_),
      requests_(options.stall_timeout, clock_),
      calls_(options.stall_timeout, clock_),
      reads_(ReadsFor(RequestMemoryMb(options) * kMiB)),
      peers_(clock_),
      call_limit_(MaxCalls(options)),
      shared_memory_(OpenSharedMemory(options, clock_, *logger_)),
      scheduler_(
          {.max_queue = options.max_queue,
           .max_queue_time = options.max_queue_time,
           .max_batch_tokens = static_cast<uint64_t>(limits_.max_batch_tokens),
           .small_tokens = model_->devices().front().is_cpu() ? 32u : 512u,
           .max_activation_bytes = limits_.max_activation_bytes,
           .max_batch_delay = absl::Microseconds(options.max_batch_delay_us),
           .max_interactive = options.max_interactive,
           .max_paced = options.max_paced,
           .hook_timeout = options.hook_timeout,
           .give_back = GiveMemoryBack,
           // libtorch keeps this number for each thread, and passes run on threads of the
           // scheduler.
           .on_worker_start = [threads] { at::set_num_threads(threads); }},
          [this](absl::Span<const BatchedRun> runs, BatchContext& context) {
            const absl::Status status = weights_guard_.Check();
            if (status.ok()) return executor_.Execute(runs, context);
            for (size_t i = 0; i < runs.size(); ++i) context.Done(i, status);
          },
          clock_),
      backend_{.catalogue = model_->catalogue(),
               .planner = planner_,
               .scheduler = scheduler_,
               .budget = *budget_,
               .streams = streams_,
               .requests = requests_,
               .calls = calls_,
               .reads = reads_,
               .request_memory = *request_memory_,
               .planning_threads = planning_threads_,
               .peers = peers_,
               .call_limit = call_limit_,
               .clock = clock_,
               .logger = *logger_,
               .model = Describe(*checkpoint_, *model_, unread_files),
               .server = DescribeServer(options, *model_, threads, shared_memory_.get(), load_id),
               .compute_dtype = model_->dtype(),
               .weights_digest = [this] { return digest_.value(); },
               .weights_guard = weights_guard_,
               .max_upload_bytes = options.max_upload_mb * kMiB,
               .tokenizer = std::move(tokenizer),
               .parameters = options.serve_weights ? &model_->parameters() : nullptr,
               .shared_memory = shared_memory_.get()} {}

Daemon::~Daemon() {
  Stop();
  // gRPC may free a result's memory, and so notify of room, after the scheduler has been destroyed.
  budget_->NotifyRoom(nullptr);
}

void Daemon::WatchWeights() {
  weights_watch_ = std::make_unique<WeightsWatch>(
      weights_guard_, kWeightsInterval, [this](const model::FileChange& change) {
        LogEvent(*logger_, spdlog::level::err, "weight files changed: start the server again",
                 {{"file", change.path}, {"change", change.what}});
        rpc_->SetServing(false);
      });
}

std::string Daemon::address() const { return rpc_->address().ToString(); }

void Daemon::Drain() {
  rpc_->SetServing(false);
  scheduler_.Drain();
  requests_.AbandonAll(MakeError("the server is shutting down and takes no more runs",
                                 {v1::ERROR_REASON_SHUTTING_DOWN, "", {}}));
}

bool Daemon::WaitUntilIdle(absl::Duration timeout) const {
  return streams_.WaitUntilEmpty(clock_.Now() + timeout);
}

void Daemon::Stop() {
  scheduler_.Drain();
  const absl::Status ended = MakeError("the server is shutting down and has ended the run",
                                       {v1::ERROR_REASON_SHUTTING_DOWN, "", {}});
  requests_.AbandonAll(ended);
  calls_.AbandonAll(MakeError("the server is shutting down and has ended the call",
                              {v1::ERROR_REASON_SHUTTING_DOWN, "", {}}));
  streams_.AbandonAll(ended);
  if (rpc_ == nullptr) return;
  streams_.WaitUntilEmpty(absl::InfiniteFuture());
  // Its callback uses rpc_, so it ends first.
  weights_watch_ = nullptr;
  rpc_->Shutdown(kConnectionGrace);
}

}  // namespace hookwire::server
