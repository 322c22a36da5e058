#include "server/local/shared_memory.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/errors/status_macros.h"
#include "server/execute/run_output.h"

namespace hookwire::server {
namespace {

constexpr size_t kTokenBytes = 16;
// The alignment of a tensor, for vector instructions.
constexpr uint64_t kAlignment = 64;
// How long to pause before polling clients again after the system has refused it.
constexpr absl::Duration kPause = absl::Milliseconds(100);

// Random bytes that cannot be guessed.
absl::StatusOr<std::string> MakeToken(os::System& system) {
  std::string token(kTokenBytes, '\0');
  size_t filled = 0;
  while (filled < token.size()) {
    const ssize_t got = os::Uninterrupted(
        [&] { return system.Getrandom(token.data() + filled, token.size() - filled); });
    if (got <= 0) return absl::ErrnoToStatus(errno, "cannot get random bytes");
    filled += static_cast<size_t>(got);
  }
  return token;
}

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

// Sends one message with the token and the descriptor.
bool Send(os::System& system, int connection, const std::string& token, int descriptor) {
  iovec bytes = {const_cast<char*>(token.data()), token.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  return os::Uninterrupted([&] {
           return system.Sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
         }) >= 0;
}

bool HasCallbacks(const RunPlan& plan) {
  return std::any_of(plan.ops.begin(), plan.ops.end(),
                     [](const OpPlan& op) { return op.is_shown(); });
}

static_assert(kJoinedAlignment % kAlignment == 0);

// Places tensors one after another: the byte at which each begins, and at the end of the list the
// byte at which the last one ends.
std::vector<uint64_t> LayOut(const RunPlan& plan) {
  std::vector<uint64_t> starts(plan.n_tensors + 1);
  uint64_t end = 0;
  const auto add = [&](const std::vector<TensorPlan>& tensors) {
    for (const TensorPlan& tensor : tensors) {
      starts[tensor.index] = end;
      end += RoundUp(tensor.bytes, kAlignment);
    }
  };
  for (const CapturePlan& capture : plan.captures) add(capture.tensors);
  for (const OutputPlan& output : plan.outputs) add(output.tensors);
  starts.back() = end;
  return starts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SharedMemory>> SharedMemory::Create(const Options& options,
                                                                   const Clock& clock,
                                                                   os::System& system) {
  // Tries once whether the system supports it.
  HOOKWIRE_ASSIGN_OR_RETURN(const std::unique_ptr<Segment> probe, Segment::Create(1, system));
  if (probe->Reserve(0, 1) == nullptr) {
    return absl::ErrnoToStatus(
        errno, errno == EINVAL ? "cannot reserve shared memory (Linux 5.14 or later is needed)"
                               : "cannot reserve shared memory");
  }
  Descriptor wake(system.Eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), system);
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "cannot wait for clients");
  std::unique_ptr<SharedMemory> memory(new SharedMemory(options, clock, system, std::move(wake)));
  HOOKWIRE_ASSIGN_OR_RETURN(const std::string name, MakeToken(system));
  memory->socket_ = absl::StrCat("hookwire-", absl::BytesToHexString(name));
  HOOKWIRE_ASSIGN_OR_RETURN(memory->server_, UnixServer::Start(
                                                 {memory->socket_, true}, SOCK_SEQPACKET,
                                                 [out = memory.get()](Descriptor connection) {
                                                   out->Welcome(std::move(connection));
                                                 },
                                                 system));
  memory->thread_ = std::thread([out = memory.get()] { out->Watch(); });
  return memory;
}

SharedMemory::~SharedMemory() {
  server_ = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  system_.EventfdWrite(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void SharedMemory::Welcome(Descriptor connection) {
  const std::optional<uid_t> user = PeerUser(connection.get(), system_);
  if (!user.has_value() || !MayHave(*user, geteuid())) return;
  {
    absl::MutexLock lock(&mutex_);
    if (clients_.size() >= options_.max_clients) return;
  }
  auto client = std::make_shared<Client>();
  absl::StatusOr<std::unique_ptr<Segment>> segment = Segment::Create(options_.max_bytes, system_);
  absl::StatusOr<std::string> token = MakeToken(system_);
  // Without a segment the client gets its results in messages.
  if (!segment.ok() || !token.ok()) return;
  client->segment = *std::move(segment);
  client->token = *std::move(token);
  client->connection = std::move(connection);
  {
    // Sends under the mutex, so that a client that has its token is in clients_.
    absl::MutexLock lock(&mutex_);
    if (!Send(system_, client->connection.get(), client->token, client->segment->reader())) return;
    client->segment->CloseReader();
    clients_.emplace(client->token, client);
  }
  system_.EventfdWrite(wake_.get(), 1);
}

std::unique_ptr<SharedResult> SharedMemory::Lend(std::string_view token, const RunPlan& plan) {
  if (token.empty() || plan.total_bytes < options_.min_result_bytes || HasCallbacks(plan)) {
    return nullptr;
  }
  std::vector<uint64_t> starts = LayOut(plan);
  absl::MutexLock lock(&mutex_);
  const auto found = clients_.find(token);
  if (found == clients_.end()) return nullptr;
  const std::shared_ptr<Client> client = found->second;
  // The client may have sent its byte before it sent this run.
  Receive(*client);
  if (client->gone || client->state != Client::kFree) return nullptr;
  if (!SetAside(*client, RoundUp(starts.back(), Segment::kBlock))) return nullptr;
  client->state = Client::kWriting;
  return std::make_unique<SharedResult>(*this, client, std::move(starts));
}

bool SharedMemory::SetAside(Client& client, uint64_t bytes) {
  if (bytes <= client.held) return true;
  const uint64_t more = bytes - client.held;
  // Those whose segments have been idle longest come first.
  std::vector<Client*> idle;
  uint64_t reach = options_.max_bytes - held_;
  for (const auto& [token, other] : clients_) {
    if (other.get() == &client || other->state != Client::kFree || other->held == 0) continue;
    idle.push_back(other.get());
    reach += other->held;
  }
  if (bytes > client.segment->bytes() || more > reach) return false;
  std::sort(idle.begin(), idle.end(),
            [](const Client* a, const Client* b) { return a->free_since < b->free_since; });
  for (Client* const other : idle) {
    if (held_ + more <= options_.max_bytes) break;
    Discard(*other);
  }
  // The system did not take all of it back.
  if (held_ + more > options_.max_bytes) return false;
  client.held = bytes;
  held_ += more;
  return true;
}

void SharedMemory::Discard(Client& client) {
  if (client.segment->Discard()) held_ -= std::exchange(client.held, 0);
}

void SharedMemory::Release(Client& client) {
  absl::MutexLock lock(&mutex_);
  if (client.gone) held_ -= std::exchange(client.held, 0);
  client.state = Client::kReading;
}

void SharedMemory::Receive(Client& client) {
  while (true) {
    char said = 0;
    const ssize_t size = system_.Recv(client.connection.get(), &said, sizeof(said), MSG_DONTWAIT);
    if (size > 0) {
      if (client.state != Client::kReading) continue;
      client.state = Client::kFree;
      client.free_since = clock_.Now();
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    break;
  }
  if (std::exchange(client.gone, true)) return;
  if (client.state != Client::kWriting) held_ -= std::exchange(client.held, 0);
  clients_.erase(client.token);
}

absl::Time SharedMemory::FreeIdle(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  absl::Time next = held_ == 0 ? absl::InfiniteFuture() : now + options_.idle_time;
  for (const auto& [token, client] : clients_) {
    if (client->state != Client::kFree || client->held == 0) continue;
    const absl::Time end = client->free_since + options_.idle_time;
    if (end <= now) {
      Discard(*client);
    } else {
      next = std::min(next, end);
    }
  }
  return next;
}

void SharedMemory::Watch() {
  while (true) {
    std::vector<std::shared_ptr<Client>> clients;
    std::vector<pollfd> ready = {{wake_.get(), POLLIN, 0}};
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return;
      for (const auto& [token, client] : clients_) {
        clients.push_back(client);
        ready.push_back({client->connection.get(), POLLIN, 0});
      }
    }
    const absl::Time now = clock_.Now();
    const absl::Duration pause = std::min(FreeIdle(now) - now, absl::Hours(1));
    const auto milliseconds = absl::ToInt64Milliseconds(absl::Ceil(pause, absl::Milliseconds(1)));
    const int n = system_.Poll(ready.data(), ready.size(), static_cast<int>(milliseconds));
    if (n < 0 && errno != EINTR) {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stop_), kPause);
    }
    if (n <= 0) continue;
    eventfd_t wakes = 0;
    system_.EventfdRead(wake_.get(), &wakes);
    for (size_t i = 0; i < clients.size(); ++i) {
      if (ready[i + 1].revents == 0) continue;
      absl::MutexLock lock(&mutex_);
      if (!clients[i]->gone) Receive(*clients[i]);
    }
  }
}

size_t SharedMemory::clients() const {
  const absl::MutexLock lock(&mutex_);
  return clients_.size();
}

uint64_t SharedMemory::held() const {
  absl::MutexLock lock(&mutex_);
  return held_;
}

std::optional<uint64_t> SharedResult::Find(const void* data) const {
  const Segment& segment = *client_->segment;
  const auto* const byte = static_cast<const uint8_t*>(data);
  // Addresses of different objects have no order but std::less's.
  const std::less<const uint8_t*> before;
  if (byte == nullptr || before(byte, segment.data()) ||
      !before(byte, segment.data() + segment.bytes())) {
    return std::nullopt;
  }
  return static_cast<uint64_t>(byte - segment.data());
}

}  // namespace hookwire::server
