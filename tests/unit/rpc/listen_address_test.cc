#include "server/rpc/listen_address.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace hookwire::server {
namespace {

TEST(ListenAddress, ParsesNamesAndBothFamilies) {
  for (const char* text : {"127.0.0.1:7431", "localhost:0", "[::1]:65535", "0.0.0.0:80"}) {
    const auto address = ParseListenAddress(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address->ToString(), text);
  }
}

TEST(ListenAddress, ParsesUnixSockets) {
  for (const char* text :
       {"unix:/run/hookwired.sock", "unix:hookwired.sock", "unix-abstract:hookwired"}) {
    const auto address = ParseListenAddress(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address->ToString(), text);
  }
  EXPECT_EQ(ParseListenAddress("unix:///run/hookwired.sock")->ToString(),
            "unix:/run/hookwired.sock");
  EXPECT_TRUE(ParseListenAddress("unix:/" + std::string(kMaxUnixName - 1, 'x')).ok());
}

TEST(ListenAddress, RefusesWhatIsNone) {
  for (const char* text : {"", "127.0.0.1", ":7431", "host:", "host:x", "host:-1", "host:65536",
                           "::1:80", "[::1]", "[]:80", "[host]:80", "unix:", "unix-abstract:"}) {
    EXPECT_FALSE(ParseListenAddress(text).ok()) << text;
  }
  const auto status = ParseListenAddress("unix:/" + std::string(kMaxUnixName, 'x')).status();
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("at most 107 bytes"));
}

TEST(ListenAddress, AUnixSocketLeavesNothingWhenItWasTried) {
  const std::string path = testing::TempDir() + "hookwire-listen-address-test.sock";
  const auto address = ParseListenAddress("unix:" + path);
  ASSERT_TRUE(address.ok());
  EXPECT_TRUE(CheckCanListen(*address).ok());
  EXPECT_EQ(access(path.c_str(), F_OK), -1);
  const auto socket = UnixSocket::Listen(*address->socket, SOCK_STREAM);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_TRUE(absl::IsAlreadyExists(CheckCanListen(*address)));
}

TEST(ListenAddress, AFreeOneCanBeListenedAt) { EXPECT_TRUE(CheckCanListen({"127.0.0.1", 0}).ok()); }

TEST(ListenAddress, OneInUseCannot) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in own = {};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof(own)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t size = sizeof(own);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size), 0);
  const absl::Status status = CheckCanListen({"127.0.0.1", ntohs(own.sin_port)});
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("in use"));
  close(fd);
}

TEST(ListenAddress, OneOfAnotherMachineCannot) {
  // Reserved for documentation (RFC 5737).
  const absl::Status status = CheckCanListen({"192.0.2.1", 0});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

}  // namespace
}  // namespace hookwire::server
