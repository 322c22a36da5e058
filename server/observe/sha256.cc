#include "server/observe/sha256.h"

#include <array>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace hookwire::server {

Sha256::Sha256()
    : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free),
      ok_(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1) {}

void Sha256::Add(std::string_view bytes) {
  ok_ = ok_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
}

absl::StatusOr<std::string> Sha256::Finish() && {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (!ok_ || EVP_DigestFinal_ex(context_.get(), digest.data(), &size) != 1) {
    return absl::InternalError("SHA-256 failed");
  }
  return absl::StrCat("sha256:",
                      absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), size}));
}

}  // namespace hookwire::server
