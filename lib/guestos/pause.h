// The first process of a process namespace that containers share: it reaps what they orphan.
#pragma once

namespace vck::guestos {

// Never returns; TERM and INT end it.
[[noreturn]] void RunPause();

}  // namespace vck::guestos
