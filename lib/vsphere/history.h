// Events and performance counters.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vsphere/calls.h"

namespace vck::vsphere {

using Events = std::vector<std::shared_ptr<vim::Event>>;  // Event::TypeName() is what happened ("VmPoweredOnEvent")

// The newest events of an object and what is below it, at most `max`; oldest first.
Task<StatusOr<Events>> QueryEvents(Session& session, MoRef entity, std::vector<std::string> types, int max = 100);

// Reads on from where it stands. An event collector lives in its session: FailedPrecondition when that is another one.
class EventReader {
 public:
  EventReader(Session& session, MoRef entity, std::vector<std::string> types);
  Task<Status> Open();
  // What has come since the last call, at most `max`; empty if nothing has.
  Task<StatusOr<Events>> Next(int max = 100);
  Task<> Close();

 private:
  Session& session_;
  vim::EventFilterSpec filter_;
  MoRef collector_;
  uint64_t epoch_ = 0;
};

struct Sample {
  MoRef entity;
  std::string counter;          // "cpu.usagemhz.average"
  std::string instance;         // "" for the whole
  std::vector<int64_t> values;  // oldest first; -1: none
};

// Performance counters by name ("group.name.rollup"); the table of names is read once.
class PerfReader {
 public:
  explicit PerfReader(Calls& calls) : calls_(calls) {}
  // The last `samples` real-time values (20 s apart) of each entity. InvalidArgument for a name that vCenter lacks.
  Task<StatusOr<std::vector<Sample>>> Query(std::vector<MoRef> entities, std::vector<std::string> counters,
                                            int samples = 1);

 private:
  Task<Status> LoadNames();
  Calls& calls_;
  std::map<std::string, int32_t> ids_;
  std::map<int32_t, std::string> names_;
};

}  // namespace vck::vsphere
