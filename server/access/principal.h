// The client that makes a call.
#ifndef HOOKWIRE_SERVER_ACCESS_PRINCIPAL_H_
#define HOOKWIRE_SERVER_ACCESS_PRINCIPAL_H_

#include <string>

namespace hookwire::server {

// One client, however many connections it has.
struct Principal {
  // Equal for two calls exactly if they are of the same client: "process:4711",
  // "user:1000@127.0.0.1", "address:10.0.0.3".
  std::string key;
  // For the log: the key, and the connection: "process:4711 ipv4:127.0.0.1:40312".
  std::string name;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ACCESS_PRINCIPAL_H_
