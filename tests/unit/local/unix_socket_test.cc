// Listening at Unix sockets, and what becomes of their files.

#include "server/local/unix_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/local/unix_server.h"
#include "tests/unit/local/connect.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class UnixSocketTest : public ::testing::Test {
 protected:
  UnixAddress Path(const std::string& name = "socket") const {
    return {(directory_ / name).string()};
  }
  UnixAddress Abstract() const { return {directory_.string(), true}; }

  static std::optional<UnixSocket> Listen(const UnixAddress& address) {
    absl::StatusOr<UnixSocket> socket = UnixSocket::Listen(address, SOCK_STREAM);
    EXPECT_TRUE(socket.ok()) << socket.status();
    if (!socket.ok()) return std::nullopt;
    return *std::move(socket);
  }

  static absl::Status TryToListen(const UnixAddress& address) {
    return UnixSocket::Listen(address, SOCK_STREAM).status();
  }

  static Descriptor Connect(const UnixAddress& address) { return ConnectTo(address, SOCK_STREAM); }

  // The file of a server that was killed.
  void LeaveStale(const UnixAddress& address) const {
    const auto socket = Listen(address);
    // The listening socket goes without its file when it goes with another name.
    fs::rename(address.name, address.name + ".kept");
  }

  const hookwire::testing::TempDirectory temp_;
  const fs::path directory_ = temp_.path();
};

TEST_F(UnixSocketTest, CanBeConnectedTo) {
  for (const UnixAddress& address : {Path(), Abstract()}) {
    const auto socket = Listen(address);
    EXPECT_TRUE(Connect(address).valid()) << address.ToString();
  }
}

TEST_F(UnixSocketTest, ItsFileGoesWithIt) {
  {
    const auto socket = Listen(Path());
    EXPECT_TRUE(fs::is_socket(Path().name));
  }
  EXPECT_FALSE(fs::exists(fs::symlink_status(Path().name)));
}

TEST_F(UnixSocketTest, AnothersFileStays) {
  {
    const auto socket = Listen(Path());
    fs::remove(Path().name);
    std::ofstream(Path().name) << "another's";
  }
  EXPECT_TRUE(fs::is_regular_file(Path().name));
}

TEST_F(UnixSocketTest, OneThatNobodyListensAtIsReplaced) {
  LeaveStale(Path());
  const UnixAddress stale = {Path().name + ".kept"};
  ASSERT_TRUE(fs::is_socket(stale.name));
  ASSERT_FALSE(Connect(stale).valid());
  const auto socket = Listen(stale);
  EXPECT_TRUE(Connect(stale).valid());
}

TEST_F(UnixSocketTest, OneThatSomebodyListensAtIsInUse) {
  for (const UnixAddress& address : {Path(), Abstract()}) {
    const auto socket = Listen(address);
    const absl::Status status = TryToListen(address);
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat(address.ToString(), ": the address is in use")));
    EXPECT_TRUE(Connect(address).valid());
  }
}

TEST_F(UnixSocketTest, OneOfAnotherTypeIsInUseToo) {
  const auto socket = UnixSocket::Listen(Path(), SOCK_SEQPACKET);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_TRUE(absl::IsAlreadyExists(TryToListen(Path())));
}

TEST_F(UnixSocketTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(Path().name) << "precious";
  const absl::Status status = TryToListen(Path());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("it is no socket"));
  EXPECT_EQ(fs::file_size(Path().name), 8u);
}

TEST_F(UnixSocketTest, ADirectoryMustBeThere) {
  const absl::Status status = TryToListen(Path("nowhere/socket"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file or directory"));
}

TEST_F(UnixSocketTest, ALongNameIsRefused) {
  EXPECT_TRUE(TryToListen({std::string(kMaxUnixName, 'x'), true}).ok());
  const absl::Status status = TryToListen({std::string(kMaxUnixName + 1, 'x'), true});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(UnixSocketTest, TheServerIsToldOfEachConnection) {
  absl::Notification two;
  int connections = 0;
  uid_t user = ~uid_t{0};
  const auto server = UnixServer::Start(Path(), SOCK_STREAM, [&](Descriptor connection) {
    user = PeerUser(connection.get()).value_or(~uid_t{0});
    if (++connections == 2) two.Notify();
  });
  ASSERT_TRUE(server.ok()) << server.status();
  const Descriptor first = Connect(Path());
  const Descriptor second = Connect(Path());
  two.WaitForNotification();
  EXPECT_EQ(user, getuid());
}

TEST(MayHave, OnlyTheSameUserAndRoot) {
  EXPECT_TRUE(MayHave(1000, 1000));
  EXPECT_TRUE(MayHave(0, 1000));
  EXPECT_FALSE(MayHave(1001, 1000));
  EXPECT_FALSE(MayHave(1000, 0));
}

}  // namespace
}  // namespace hookwire::server
