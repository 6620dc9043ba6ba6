// A command in a container, between its client and the guest's tether.
#pragma once

#include <memory>

#include "async/clock.h"
#include "async/task.h"
#include "guestlink/links.h"
#include "kubeletapi/command_client.h"

namespace vck::kubeletapi {

struct CommandSessionOptions {
  absl::Duration idle_timeout = absl::Hours(4);
  absl::Duration creation_timeout = absl::Seconds(30);  // for the client to open its streams
  // For the client to take the end and to close; as long as upstream's (cri-streaming) waits.
  absl::Duration linger = absl::Minutes(15);
};

// Copies both ways until the command or the client has ended. Holds what one read gave, and reads no more before that
// is written.
Task<> RunCommandSession(Clock& clock, std::unique_ptr<CommandClient> client, guestlink::OpenedStream guest,
                         CommandSessionOptions options);

}  // namespace vck::kubeletapi
