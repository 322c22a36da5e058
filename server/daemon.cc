#include "server/daemon.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/device.h"
#include "server/errors/errors.h"
#include "server/plan/dtypes.h"
#include "server/rpc/describe_model.h"

namespace hookwire::server {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// Health watchers and other calls that never end by themselves.
constexpr absl::Duration kConnectionGrace = absl::Milliseconds(500);

int UsableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Limits LimitsOf(const Options& options) {
  Limits limits;
  limits.max_result_bytes = options.max_result_mb * kMiB;
  limits.max_tokens = options.max_tokens;
  return limits;
}

v1::Server DescribeServer(const Options& options, const model::TextModel& model, int threads) {
  v1::Server out;
  out.set_build(BuildName());
  out.set_device(model.device().str());
  out.set_dtype(ToWire(model.dtype()));
  out.set_numerics(ToWire(options.numerics));
  out.set_threads(static_cast<uint32_t>(threads));
  out.set_max_request_bytes(kMaxRequestBytes);
  out.set_max_result_bytes(options.max_result_mb * kMiB);
  out.set_max_tokens(options.max_tokens);
  for (const char* capability :
       {"run", "plan", "ops.set", "ops.add", "ops.scale", "ops.zero", "ops.copy", "logits",
        "log_probs", "residual", "stop_at_layer", "interact"}) {
    out.add_capabilities(capability);
  }
  if (options.serve_weights) out.add_capabilities("weights");
  return out;
}

ModelFacts FactsOf(const model::Checkpoint& checkpoint, const model::TextModel& model) {
  return {checkpoint.name(), model.layer_scalars(), model.n_params()};
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
  absl::StatusOr<at::Device> device = OpenDevice(options.device);
  if (!device.ok()) return device.status();

  const int threads = options.threads > 0 ? options.threads : UsableCores();
  at::set_num_threads(threads);
  const absl::Time start = absl::Now();
  absl::StatusOr<std::unique_ptr<const model::TextModel>> model =
      model::TextModel::Load(*checkpoint, {.dtype = options.dtype, .device = *device});
  if (!model.ok()) return model.status();
  LogEvent(*logger, spdlog::level::info, "model loaded",
           {{"model", (*checkpoint)->directory()},
            {"dtype", DtypeName((*model)->dtype())},
            {"device", (*model)->device().str()},
            {"params", (*model)->n_params()},
            {"threads", threads},
            {"ms", absl::ToInt64Milliseconds(absl::Now() - start)}});

  std::unique_ptr<Daemon> daemon(
      new Daemon(options, std::move(logger), *std::move(checkpoint), *std::move(model), threads));
  absl::StatusOr<std::unique_ptr<RpcServer>> rpc =
      RpcServer::Start(daemon->backend_, options.listen);
  if (!rpc.ok()) return rpc.status();
  daemon->rpc_ = *std::move(rpc);
  return daemon;
}

Daemon::Daemon(const Options& options, std::shared_ptr<spdlog::logger> logger,
               std::shared_ptr<const model::Checkpoint> checkpoint,
               std::unique_ptr<const model::TextModel> model, int threads)
    : logger_(std::move(logger)),
      checkpoint_(std::move(checkpoint)),
      model_(std::move(model)),
      digest_(checkpoint_->weight_files()),
      planner_(*model_, LimitsOf(options)),
      executor_(*model_, {.numerics = options.numerics,
                          .max_batch_tokens = static_cast<int64_t>(options.max_batch_tokens)}),
      budget_(ByteBudget::Create(options.result_buffer_mb * kMiB)),
      streams_(options.stall_timeout, clock_),
      scheduler_(
          {.max_queue = options.max_queue,
           .max_interactive = options.max_interactive,
           .hook_timeout = options.hook_timeout,
           // The number belongs to the thread that computes, too.
           .on_worker_start = [threads] { at::set_num_threads(threads); }},
          [this](const RunPlan& plan, TensorSink& sink) { return executor_.Execute(plan, sink); },
          clock_),
      backend_{.catalogue = model_->catalogue(),
               .planner = planner_,
               .scheduler = scheduler_,
               .budget = *budget_,
               .streams = streams_,
               .clock = clock_,
               .logger = *logger_,
               .model = DescribeModel(model_->config(), FactsOf(*checkpoint_, *model_)),
               .server = DescribeServer(options, *model_, threads),
               .compute_dtype = model_->dtype(),
               .weights_digest = [this] { return digest_.value(); },
               .max_upload_bytes = options.max_upload_mb * kMiB,
               .directory = checkpoint_->directory(),
               .parameters = options.serve_weights ? &model_->parameters() : nullptr,
               .stall_timeout = options.stall_timeout} {}

Daemon::~Daemon() { Stop(); }

std::string Daemon::address() const { return rpc_->address().ToString(); }

void Daemon::Drain() {
  rpc_->SetServing(false);
  scheduler_.Drain();
}

bool Daemon::WaitUntilIdle(absl::Duration timeout) const {
  return streams_.WaitUntilEmpty(clock_.Now() + timeout);
}

void Daemon::Stop() {
  scheduler_.Drain();
  streams_.AbandonAll(MakeError("the server is shutting down and has ended the run",
                                {v1::ERROR_REASON_SHUTTING_DOWN, "", {}}));
  if (rpc_ == nullptr) return;
  streams_.WaitUntilEmpty(absl::InfiniteFuture());
  rpc_->Shutdown(kConnectionGrace);
}

}  // namespace hookwire::server
