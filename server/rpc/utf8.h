// Makes any bytes a valid protobuf string.
#ifndef HOOKWIRE_SERVER_RPC_UTF8_H_
#define HOOKWIRE_SERVER_RPC_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace hookwire::server {

// `text` as valid UTF-8 of at most `max_bytes` bytes: a byte that is not valid becomes U+FFFD; a
// text that is too long is cut between two characters, and ends with an ellipsis.
std::string ValidUtf8(std::string_view text, size_t max_bytes);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_UTF8_H_
