#include "server/access/peers.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "os/descriptor.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

TEST(ParsePeer, ReadsGrpcsNames) {
  const auto parse = [](std::string_view peer) {
    const auto endpoint = ParsePeer(peer);
    return endpoint ? absl::StrCat(endpoint->address, " ", endpoint->port) : "none";
  };
  EXPECT_EQ(parse("ipv4:10.0.0.3:40312"), "10.0.0.3 40312");
  EXPECT_EQ(parse("ipv6:%5B::1%5D:40312"), "::1 40312");
  EXPECT_EQ(parse("ipv6:[2001:db8::7]:1"), "2001:db8::7 1");
  EXPECT_EQ(parse("ipv6:%5B::ffff:10.0.0.3%5D:5"), "10.0.0.3 5");
  for (const char* peer : {"fd:17", "unix:", "ipv4:10.0.0.3", "ipv4:10.0.0.3:x", "ipv4::5",
                           "ipv4:10.0.0.3:70000", ""}) {
    EXPECT_EQ(parse(peer), "none") << peer;
  }
}

// An operating system with sockets and processes that the test names.
class PeersTest : public ::testing::Test {
 protected:
  PeersTest() { peers_.ListenAt({"127.0.0.1", 7431}); }
  std::string KeyOf(const std::string& peer) { return peers_.Of(peer).key; }

  FakeClock clock_;
  std::map<uint16_t, uint64_t> inode_by_port_;
  std::map<uint64_t, pid_t> process_by_inode_;
  int asked_for_socket_ = 0;
  int asked_for_process_ = 0;
  Endpoint asked_to_;
  Peers peers_{
      clock_,
      {.socket = [this](const Endpoint& from, const Endpoint& to) -> std::optional<SocketIdentity> {
         ++asked_for_socket_;
         asked_to_ = to;
         const auto found = inode_by_port_.find(from.port);
         if (found == inode_by_port_.end()) return std::nullopt;
         return SocketIdentity{1000, found->second};
       },
       .process = [this](const SocketIdentity& socket,
                         const std::vector<pid_t>&) -> std::optional<pid_t> {
         ++asked_for_process_;
         const auto found = process_by_inode_.find(socket.inode);
         if (found == process_by_inode_.end()) return std::nullopt;
         return found->second;
       }}};
};

TEST_F(PeersTest, AllConnectionsOfAProcessAreOneClient) {
  inode_by_port_ = {{1, 11}, {2, 12}, {3, 13}};
  process_by_inode_ = {{11, 4711}, {12, 4711}, {13, 4712}};
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:1"), "process:4711");
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:2"), "process:4711");
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:3"), "process:4712");
  EXPECT_EQ(asked_to_.address, "127.0.0.1");
  EXPECT_EQ(asked_to_.port, 7431);
  EXPECT_THAT(peers_.Of("ipv4:127.0.0.1:3").name, ::testing::HasSubstr("ipv4:127.0.0.1:3"));
}

TEST_F(PeersTest, AProcessThatCannotBeSeenIsItsUserAndThenItsAddress) {
  inode_by_port_ = {{1, 11}};
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:1"), "user:1000@127.0.0.1");
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:9"), "address:127.0.0.1");
}

TEST_F(PeersTest, OthersAreTheirAddressWithoutThePort) {
  EXPECT_EQ(KeyOf("ipv4:10.0.0.3:1"), KeyOf("ipv4:10.0.0.3:2"));
  EXPECT_NE(KeyOf("ipv4:10.0.0.3:1"), KeyOf("ipv4:10.0.0.4:1"));
  EXPECT_NE(KeyOf("ipv6:%5B2001:db8::7%5D:1"), KeyOf("ipv6:%5B2001:db8::8%5D:1"));
  EXPECT_EQ(asked_for_socket_, 0);
}

TEST_F(PeersTest, TheSystemIsAskedOnceAConnectionAndAgainWhenThePortMayBeAnothers) {
  inode_by_port_ = {{1, 11}};
  process_by_inode_ = {{11, 4711}, {12, 4712}};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(KeyOf("ipv4:127.0.0.1:1"), "process:4711");
  EXPECT_EQ(asked_for_socket_, 1);
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:1"), "process:4711");
  EXPECT_EQ(asked_for_process_, 1);
  inode_by_port_[1] = 12;
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(KeyOf("ipv4:127.0.0.1:1"), "process:4712");
}

TEST_F(PeersTest, AUnixSocketsProcessIsWhoConnected) {
  peers_.Accepted(17, 4711, 1000);
  peers_.Accepted(18, 4711, 1000);
  peers_.Accepted(19, 0, 1000);
  EXPECT_EQ(KeyOf("fd:17"), "process:4711");
  EXPECT_EQ(KeyOf("fd:18"), "process:4711");
  EXPECT_EQ(KeyOf("fd:19"), "user:1000@unix");
  // The descriptor has been closed, and has come to another connection.
  peers_.Accepted(17, 4712, 1000);
  EXPECT_EQ(KeyOf("fd:17"), "process:4712");
}

// The real system: a connection of a child process, and one of this process.
TEST(SocketOwner, FindsTheProcessAtTheOtherEnd) {
  const os::Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const where = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener.get(), where, size), 0);
  ASSERT_EQ(listen(listener.get(), 2), 0);
  ASSERT_EQ(getsockname(listener.get(), where, &size), 0);
  const Endpoint server{"127.0.0.1", ntohs(address.sin_port)};

  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(go[1]);
    // gRPC connects to IPv4 addresses with sockets of IPv6.
    const int connection = socket(AF_INET6, SOCK_STREAM, 0);
    sockaddr_in6 mapped = {};
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = address.sin_port;
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
    if (connect(connection, reinterpret_cast<sockaddr*>(&mapped), sizeof(mapped)) != 0) _exit(1);
    char byte = 0;
    _exit(read(go[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(go[0]);
  const auto accept_peer = [&] {
    sockaddr_in peer = {};
    socklen_t length = sizeof(peer);
    os::Descriptor connection(accept(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length));
    return std::pair(std::move(connection), Endpoint{"127.0.0.1", ntohs(peer.sin_port)});
  };
  const auto [from_child, child_end] = accept_peer();
  const auto socket_of_child = FindSocket(child_end, server);
  ASSERT_TRUE(socket_of_child.has_value());
  EXPECT_EQ(socket_of_child->user, getuid());
  EXPECT_EQ(FindProcess(*socket_of_child, {}), child);
  EXPECT_EQ(FindProcess(*socket_of_child, {getpid(), child}), child);

  const os::Descriptor own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(own.get(), where, size), 0);
  const auto [from_self, own_end] = accept_peer();
  const auto own_socket = FindSocket(own_end, server);
  ASSERT_TRUE(own_socket.has_value());
  struct stat file = {};
  ASSERT_EQ(fstat(own.get(), &file), 0);
  EXPECT_EQ(own_socket->inode, file.st_ino);
  EXPECT_EQ(FindProcess(*own_socket, {}), getpid());

  close(go[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(FindSocket({"127.0.0.1", 1}, server).has_value());
}

}  // namespace
}  // namespace hookwire::server
