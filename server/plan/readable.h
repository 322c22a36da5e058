// Formats numbers for error messages.
#ifndef HOOKWIRE_SERVER_PLAN_READABLE_H_
#define HOOKWIRE_SERVER_PLAN_READABLE_H_

#include <cstdint>
#include <string>

namespace hookwire::server {

// "1.5 MiB".
std::string Readable(uint64_t bytes);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_READABLE_H_
