// GuestEvents: what guests tell of their pods' containers, as core/v1 Events.
#pragma once

#include <functional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "async/clock.h"
#include "guestlink/links.h"
#include "kube/object.h"
#include "node/pod_facts.h"

namespace vck::node {

class GuestEvents {
 public:
  // `container` is "" for events about the pod.
  using Record = std::function<void(const kube::Object& pod, const std::string& container, bool warning,
                                    std::string reason, std::string message)>;
  // Events from before now have been told by an earlier kubelet.
  GuestEvents(Clock& clock, guestlink::Links& links, ObjectStore& pods, Record record);

  // Tells what is new in the guest state of this pod. Each occurrence once, as long as the pod's object is there.
  void Look(const std::string& pod_uid);

 private:
  struct Seen {
    std::string boot_id;
    int64_t number = 0;
  };
  guestlink::Links& links_;
  ObjectStore& pods_;
  Record record_;
  absl::Time begin_;
  absl::flat_hash_map<std::string, Seen> seen_;  // by pod UID
};

}  // namespace vck::node
