// What of a pod survives a reboot of its guest: on the scratch disk, so nothing that is confidential.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "async/task.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "guestapi/state.h"

namespace vck::tether {

struct Journal {
  guestapi::GuestSpec spec;  // see WithoutSecrets
  absl::Time begun;          // what its deadline counts from; by the guest's clock
  bool ending = false;       // nothing was to be started any more
  // Boot ids, flags, and each container's current or last run. A run that was being started counts as running.
  guestapi::GuestState state;
};

// One line of JSON.
std::string Encode(const Journal& journal);
StatusOr<Journal> DecodeJournal(std::string_view text);

// Without what came from Secrets, ConfigMaps and tokens: the content of files, and what a confidential container runs
// with.
guestapi::GuestSpec WithoutSecrets(guestapi::GuestSpec spec);
// WithoutSecrets takes away what this container needs.
bool NeedsSecrets(const guestapi::GuestSpec& spec, const guestapi::ContainerSpec& container);

// Where the journal is kept.
class JournalStore {
 public:
  virtual ~JournalStore() = default;
  // NotFound if nothing was ever stored.
  virtual StatusOr<std::string> Load() = 0;
  // When it is OK, Load() gives this text after a power cut, too; until then this one or the one before.
  virtual Task<Status> Store(std::string text) = 0;
};

}  // namespace vck::tether
