#include "server/rpc/check_load.h"

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {

absl::Status CheckLoad(const Backend& backend, const std::string& expected) {
  const std::string& loaded = backend.server.load_id();
  if (expected.empty() || expected == loaded) return absl::OkStatus();
  return MakeError(
      absl::StrCat("this server has loaded '", backend.model.name(), "' (load ", loaded,
                   "), not load ", expected,
                   ", which the request expects: the server was started again, with another "
                   "checkpoint or other settings. Nothing was computed; connect again"),
      {v1::ERROR_REASON_LOAD_CHANGED,
       "",
       {{"expected", expected}, {"loaded", loaded}, {"model", backend.model.name()}}});
}

}  // namespace hookwire::server
