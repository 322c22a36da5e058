// SHA-256 (FIPS 180-4).
#ifndef HOOKWIRE_SERVER_OBSERVE_SHA256_H_
#define HOOKWIRE_SERVER_OBSERVE_SHA256_H_

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace hookwire::server {

class Sha256 {
 public:
  Sha256();
  void Add(std::string_view bytes);
  // "sha256:" and 64 hex digits. Internal where the library fails.
  absl::StatusOr<std::string> Finish() &&;

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool ok_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_SHA256_H_
