// PlanVm: the next steps for one pod UID, from what is wanted and what exists. Pure, so that the reconciler can run it
// at any time: steps are repeated until the facts show that they are done, never remembered.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "kubeapi/pod_view.h"
#include "podvm/facts.h"

namespace vck::podvm {

struct PlanOptions {
  // Beyond the grace period, for the guest to end and power itself off, before it is powered off by force.
  absl::Duration stop_slack = absl::Seconds(15);
  // For a guest whose containers have all ended to power itself off, and for whoever reads its logs to come to the end.
  absl::Duration halt_slack = absl::Seconds(10);
  // How often it is looked whether somebody still reads the logs of a finished pod.
  absl::Duration stream_look = absl::Milliseconds(200);
  // Grace of a pod whose object vanished, where a shorter one is not known.
  absl::Duration orphan_grace = absl::Seconds(10);
  // For a guest to announce itself after power-on, before a person is told.
  absl::Duration boot_slack = absl::Minutes(3);
  // For the logs of a finished pod to be saved, and for a guest that can't be reached to come back: afterwards its VM
  // is powered off without them.
  absl::Duration save_slack = absl::Minutes(2);
};

struct PlanInputs {
  // Desired: the pod object as the API has it; null: gone (absence counts only while `pods_synced`).
  const kubeapi::PodView* pod = nullptr;
  bool pods_synced = false;
  // The pod may be created: admitted, and neither waiting for something else.
  bool may_create = false;
  std::string may_not_reason;  // for the log and waiting, when it may not

  VmFacts vm;
  GuestFacts guest;
  bool images_to_add = false;     // there are image disks that a container needs and its VM has not
  bool address_available = true;  // an IP for a new VM is reserved or DHCP is used

  // What this kubelet remembers; all may be lost at a restart.
  int64_t spec_revision = 0;                      // newest resolved GuestSpec; 0: none yet
  int64_t pushed_revision = 0;                    // last given to the link
  std::optional<absl::Time> booting_since;        // VM on, and no announcement of its guest
  std::optional<absl::Time> stop_since;           // the first AskStop of this pod
  std::optional<absl::Time> finished_since;       // guest seen finished since
  std::optional<absl::Time> final_since;          // the API has had the terminal phase since
  bool logs_saved = false;                        // of the finished pod, beside its VM
  std::optional<absl::Time> power_on_not_before;  // back-off after a VM that went off by itself
  absl::Time now;
};

struct Action {
  enum class Kind {
    kCreateVm,        // with all its devices; powered on in the next round, when the inventory shows it
    kPowerOn,         // vm
    kAddImages,       // vm: image disks that it was made without
    kPushSpec,        // the newest revision to the link
    kAskStop,         // grace, stay_on
    kSaveLogs,        // of a finished pod, before its guest powers off
    kHaltGuest,       // the guest of a finished pod may power itself off
    kPowerOff,        // vm: hard
    kDestroy,         // vm; its IP is free when this is confirmed
    kAnswerQuestion,  // vm, question, choice
  };
  Kind kind;
  vimtypes::MoRef vm;
  absl::Duration grace;
  bool stay_on = false;
  std::string question_id, choice;
};
std::string_view ActionName(Action::Kind kind);

struct Plan {
  // In order. An error ends the run; the next run plans anew.
  std::vector<Action> actions;
  // The VM that counts for this pod, also when nothing is to be done; empty: none.
  vimtypes::MoRef vm;
  // A channel to its tether: kKeep leaves it as it is (the facts don't tell), kConnect needs the guest's announcement
  // and a powered-on VM, both of which are there.
  enum class Link { kKeep, kConnect, kDisconnect };
  Link link = Link::kKeep;
  // Nothing is left of the pod in vCenter, and nothing is in flight: forget its address, link and memory.
  bool gone = false;
  // Why nothing more is done now; for logs and tests: "GuestStopping", "VmUnreachable", "NameConflict", …
  std::string wait;
  // To look again even if no fact changes.
  std::optional<absl::Time> requeue_at;
  // A Warning event, when something needs a person: reason and message.
  std::string warning_reason, warning;
};

Plan PlanVm(const PlanInputs& in, const PlanOptions& options = {});

// The sweep's candidate rule for a VM that has this VCH's key and no pod object: reachable, not a template, and no
// create in flight for that UID. (Two sightings and synced stores are the caller's.)
bool Sweepable(const vimtypes::VmRecord& vm);

}  // namespace vck::podvm
