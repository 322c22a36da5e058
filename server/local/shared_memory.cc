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
                     [](const OpPlan& op) { return op.kind == OpKind::kCallback; });
}

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
    if (sessions_.size() >= options_.max_clients) return;
  }
  auto session = std::make_shared<Session>();
  absl::StatusOr<std::unique_ptr<Segment>> segment = Segment::Create(options_.max_bytes, system_);
  absl::StatusOr<std::string> token = MakeToken(system_);
  // Without a segment the client gets its results in messages.
  if (!segment.ok() || !token.ok()) return;
  session->segment = *std::move(segment);
  session->token = *std::move(token);
  session->connection = std::move(connection);
  {
    // Sends under the mutex, so that a client that has its token is in sessions_.
    absl::MutexLock lock(&mutex_);
    if (!Send(system_, session->connection.get(), session->token, session->segment->reader()))
      return;
    session->segment->CloseReader();
    sessions_.emplace(session->token, session);
  }
  system_.EventfdWrite(wake_.get(), 1);
}

std::unique_ptr<SharedResult> SharedMemory::Lend(std::string_view token, const RunPlan& plan) {
  if (token.empty() || plan.total_bytes < options_.min_result_bytes || HasCallbacks(plan)) {
    return nullptr;
  }
  std::vector<uint64_t> starts = LayOut(plan);
  absl::MutexLock lock(&mutex_);
  const auto found = sessions_.find(token);
  if (found == sessions_.end()) return nullptr;
  const std::shared_ptr<Session> session = found->second;
  // The client may have sent its byte before it sent this run.
  Receive(*session);
  if (session->gone || session->state != Session::kFree) return nullptr;
  if (!SetAside(*session, RoundUp(starts.back(), Segment::kBlock))) return nullptr;
  session->state = Session::kWriting;
  return std::make_unique<SharedResult>(*this, session, std::move(starts));
}

bool SharedMemory::SetAside(Session& session, uint64_t bytes) {
  if (bytes <= session.held) return true;
  const uint64_t more = bytes - session.held;
  // Sessions that have been idle longest come first.
  std::vector<Session*> idle;
  uint64_t reach = options_.max_bytes - held_;
  for (const auto& [token, other] : sessions_) {
    if (other.get() == &session || other->state != Session::kFree || other->held == 0) continue;
    idle.push_back(other.get());
    reach += other->held;
  }
  if (bytes > session.segment->bytes() || more > reach) return false;
  std::sort(idle.begin(), idle.end(),
            [](const Session* a, const Session* b) { return a->free_since < b->free_since; });
  for (Session* const other : idle) {
    if (held_ + more <= options_.max_bytes) break;
    Discard(*other);
  }
  // The system did not take all of it back.
  if (held_ + more > options_.max_bytes) return false;
  session.held = bytes;
  held_ += more;
  return true;
}

void SharedMemory::Discard(Session& session) {
  if (session.segment->Discard()) held_ -= std::exchange(session.held, 0);
}

void SharedMemory::Release(Session& session) {
  absl::MutexLock lock(&mutex_);
  if (session.gone) held_ -= std::exchange(session.held, 0);
  session.state = Session::kReading;
}

void SharedMemory::Receive(Session& session) {
  while (true) {
    char said = 0;
    const ssize_t size = system_.Recv(session.connection.get(), &said, sizeof(said), MSG_DONTWAIT);
    if (size > 0) {
      if (session.state != Session::kReading) continue;
      session.state = Session::kFree;
      session.free_since = clock_.Now();
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    break;
  }
  if (std::exchange(session.gone, true)) return;
  if (session.state != Session::kWriting) held_ -= std::exchange(session.held, 0);
  sessions_.erase(session.token);
}

absl::Time SharedMemory::FreeIdle(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  absl::Time next = held_ == 0 ? absl::InfiniteFuture() : now + options_.idle_time;
  for (const auto& [token, session] : sessions_) {
    if (session->state != Session::kFree || session->held == 0) continue;
    const absl::Time end = session->free_since + options_.idle_time;
    if (end <= now) {
      Discard(*session);
    } else {
      next = std::min(next, end);
    }
  }
  return next;
}

void SharedMemory::Watch() {
  while (true) {
    std::vector<std::shared_ptr<Session>> sessions;
    std::vector<pollfd> ready = {{wake_.get(), POLLIN, 0}};
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return;
      for (const auto& [token, session] : sessions_) {
        sessions.push_back(session);
        ready.push_back({session->connection.get(), POLLIN, 0});
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
    for (size_t i = 0; i < sessions.size(); ++i) {
      if (ready[i + 1].revents == 0) continue;
      absl::MutexLock lock(&mutex_);
      if (!sessions[i]->gone) Receive(*sessions[i]);
    }
  }
}

size_t SharedMemory::clients() const {
  const absl::MutexLock lock(&mutex_);
  return sessions_.size();
}

uint64_t SharedMemory::held() const {
  absl::MutexLock lock(&mutex_);
  return held_;
}

std::optional<uint64_t> SharedResult::Find(const void* data) const {
  const Segment& segment = *session_->segment;
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
