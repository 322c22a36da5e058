// Unix sockets on a system whose calls fail: listening says what failed, and a server that listens
// goes on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/local/unix_server.h"
#include "server/local/unix_socket.h"
#include "tests/unit/local/connect.h"
#include "tests/unit/local/eventually.h"
#include "tests/unit/support/faulty_system.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

namespace fs = std::filesystem;
using ::hookwire::testing::FaultySystem;
using ::testing::HasSubstr;

class UnixFaults : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<UnixServer>> Start() {
    return UnixServer::Start(
        address_, SOCK_STREAM,
        [this](Descriptor) {
          if (!served_.HasBeenNotified()) served_.Notify();
        },
        system_);
  }

  // Starts a server, connects to it and waits until it was given the connection. Returns how long
  // that took.
  absl::Duration Serve() {
    const absl::Time start = absl::Now();
    const auto server = Start();
    EXPECT_TRUE(server.ok()) << server.status();
    const Descriptor connection = ConnectTo(address_, SOCK_STREAM);
    EXPECT_TRUE(connection.valid());
    served_.WaitForNotification();
    return absl::Now() - start;
  }

  // A socket file that nobody listens at.
  void LeaveStale() const {
    {
      const auto socket = UnixSocket::Listen(address_, SOCK_STREAM);
      ASSERT_TRUE(socket.ok()) << socket.status();
      fs::rename(address_.name, address_.name + ".kept");
    }
    fs::rename(address_.name + ".kept", address_.name);
  }

  const hookwire::testing::TempDirectory directory_;
  const UnixAddress address_ = {directory_.path() + "/socket"};
  absl::Notification served_;
  FaultySystem system_;
};

TEST_F(UnixFaults, ListeningSaysWhereAndWhyAndLeavesNothing) {
  const UnixAddress by_name = {directory_.path(), true};
  for (const UnixAddress& address : {address_, by_name}) {
    std::map<std::string, int> calls;
    {
      FaultySystem system;
      const auto socket = UnixSocket::Listen(address, SOCK_STREAM, system);
      ASSERT_TRUE(socket.ok()) << socket.status();
      calls = system.calls();
    }
    for (const auto& [name, n] : calls) {
      if (name == "close") continue;
      for (int k = 0; k < n; ++k) {
        SCOPED_TRACE(absl::StrCat(address.ToString(), ", ", name, " ", k));
        FaultySystem system;
        system.Fail(name, k, EIO);
        const absl::Status status = UnixSocket::Listen(address, SOCK_STREAM, system).status();
        EXPECT_FALSE(status.ok());
        EXPECT_THAT(std::string(status.message()), HasSubstr(address.ToString()));
        EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(EIO)));
        EXPECT_EQ(system.failed(), 1);
        EXPECT_EQ(system.descriptors(), 0u);
        EXPECT_FALSE(fs::exists(address_.name));
      }
    }
    const auto socket = UnixSocket::Listen(address, SOCK_STREAM);
    EXPECT_TRUE(socket.ok()) << socket.status();
  }
}

TEST_F(UnixFaults, LookingAtASocketFileSaysWhyItFails) {
  for (const char* name : {"lstat", "socket", "connect", "unlink"}) {
    SCOPED_TRACE(name);
    if (!fs::exists(fs::symlink_status(address_.name))) LeaveStale();
    FaultySystem system;
    // The first socket is the one that is to listen, the second one looks who listens.
    system.Fail(name, std::string(name) == "socket" ? 1 : 0, EIO);
    const absl::Status status = UnixSocket::Listen(address_, SOCK_STREAM, system).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(status.message(),
              absl::StrCat("cannot listen at ", address_.ToString(), ": ", std::strerror(EIO)));
    EXPECT_EQ(system.failed(), 1);
    EXPECT_EQ(system.descriptors(), 0u);
  }
}

TEST_F(UnixFaults, SignalsDoNotKeepItFromListening) {
  LeaveStale();
  for (const char* name : {"open", "flock", "connect"}) system_.Fail(name, 0, EINTR, 2);
  const auto socket = UnixSocket::Listen(address_, SOCK_STREAM, system_);
  EXPECT_TRUE(socket.ok()) << socket.status();
  EXPECT_EQ(system_.failed(), 6);
}

class AcceptFails : public UnixFaults, public ::testing::WithParamInterface<int> {};

TEST_P(AcceptFails, AndTheServerGoesOn) {
  system_.Fail("accept4", 0, GetParam());
  Serve();
  EXPECT_EQ(system_.failed(), 1);
  EXPECT_TRUE(Eventually([&] { return system_.descriptors() == 0; }));
}

INSTANTIATE_TEST_SUITE_P(Errors, AcceptFails,
                         ::testing::Values(EMFILE, ENFILE, ENOBUFS, ENOMEM, EINTR, ECONNABORTED,
                                           EAGAIN, EPROTO, EPERM, EIO));

// A server that does not wait between the calls that fail would make them all at once.
TEST_F(UnixFaults, AcceptingWithoutDescriptorsDoesNotSpin) {
  system_.Fail("accept4", 0, EMFILE, 5);
  EXPECT_GE(Serve(), absl::Milliseconds(400));
}

TEST_F(UnixFaults, AcceptingThatFailsForAnotherReasonDoesNotSpin) {
  system_.Fail("accept4", 0, EPERM, 5);
  EXPECT_GE(Serve(), absl::Milliseconds(400));
}

TEST_F(UnixFaults, WaitingThatFailsDoesNotSpin) {
  system_.Fail("poll", 0, ENOMEM, 5);
  EXPECT_GE(Serve(), absl::Milliseconds(400));
}

TEST_F(UnixFaults, ASignalDoesNotDisturbTheWait) {
  system_.Fail("poll", 0, EINTR, 3);
  Serve();
  EXPECT_EQ(system_.failed(), 3);
}

TEST_F(UnixFaults, AServerThatCannotAcceptCanBeStopped) {
  system_.Fail("accept4", 0, EMFILE, std::numeric_limits<int>::max());
  {
    const auto server = Start();
    ASSERT_TRUE(server.ok()) << server.status();
    const Descriptor connection = ConnectTo(address_, SOCK_STREAM);
    ASSERT_TRUE(Eventually([&] { return system_.failed() > 0; }));
  }
  EXPECT_FALSE(served_.HasBeenNotified());
  EXPECT_EQ(system_.descriptors(), 0u);
}

TEST_F(UnixFaults, AServerThatCannotStartLeavesNothing) {
  system_.Fail("eventfd", 0, EMFILE);
  const absl::Status status = Start().status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(EMFILE)));
  EXPECT_EQ(system_.descriptors(), 0u);
  EXPECT_FALSE(fs::exists(address_.name));
}

TEST_F(UnixFaults, APeerThatCannotBeAskedForHasNoUser) {
  system_.Fail("getsockopt", 0, ENOTCONN);
  const auto socket = UnixSocket::Listen(address_, SOCK_STREAM);
  const Descriptor connection = ConnectTo(address_, SOCK_STREAM);
  EXPECT_EQ(PeerUser(connection.get(), system_), std::nullopt);
  EXPECT_NE(PeerUser(connection.get(), system_), std::nullopt);
}

}  // namespace
}  // namespace hookwire::server
