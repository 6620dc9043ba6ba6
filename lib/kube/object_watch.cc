#include "kube/object_watch.h"

#include <utility>

namespace vck::kube {

struct ObjectWatch::Entry : ReflectorSink {
  Entry(ObjectWatch* watch, std::string key_of, std::string ns, std::string name)
      : owner(watch),
        key(std::move(key_of)),
        group(watch->executor_),
        reflector(watch->client_, *this,
                  ReflectorOptions{.collection = {watch->resource_, std::move(ns), ""},
                                   .field_selector = absl::StrCat("metadata.name=", name),
                                   .min_watch = watch->options_.min_watch,
                                   .backoff = watch->options_.backoff}) {}

  void Replace(std::vector<ObjectPtr> objects) override {
    if (objects.empty()) {
      Set({.state = State::kAbsent});
    } else {
      Upsert(std::move(objects.front()));
    }
  }
  void Upsert(ObjectPtr object) override { Set({.state = State::kPresent, .object = std::move(object)}); }
  void Delete(ObjectPtr /*last_state*/) override { Set({.state = State::kAbsent}); }
  [[nodiscard]] ObjectPtr Find(const Object& /*like*/) const override { return view.object; }
  void ListFailed(const Status& error) override {
    // Until the object was read, readers want to know why not; later the last state stands.
    if (view.state == State::kPresent || view.state == State::kAbsent) return;
    Set({.state = State::kFailed, .object = view.object, .error = error});
  }
  [[nodiscard]] bool wants_more() const override {
    return !dropped && !(view.state == State::kPresent && view.object->immutable());
  }

  void Set(View next) {
    if (dropped) return;
    // A failure that goes on is told each time: how long it has been going on may matter to readers.
    bool same = view.state == next.state && view.object == next.object && next.state != State::kFailed;
    view = std::move(next);
    if (!same) owner->Notify(key);
  }

  ObjectWatch* owner;
  std::string key;
  int refs = 0;
  bool dropped = false;
  View view;
  TaskGroup group;
  Reflector reflector;
};

ObjectWatch::Ref::Ref(Ref&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), key_(std::move(other.key_)) {}

ObjectWatch::Ref& ObjectWatch::Ref::operator=(Ref&& other) noexcept {
  if (this != &other) {
    Release();
    owner_ = std::exchange(other.owner_, nullptr);
    key_ = std::move(other.key_);
  }
  return *this;
}

void ObjectWatch::Ref::Release() {
  if (owner_ != nullptr) std::exchange(owner_, nullptr)->Drop(key_);
}

ObjectWatch::View ObjectWatch::Ref::Get() const {
  if (owner_ == nullptr) return {};
  auto it = owner_->entries_.find(key_);
  return it == owner_->entries_.end() ? View{} : it->second->view;
}

ObjectWatch::ObjectWatch(Executor executor, Client& client, Resource resource, ObjectWatchOptions options)
    : executor_(executor), client_(client), resource_(resource), options_(options), group_(executor) {}

ObjectWatch::~ObjectWatch() = default;

ObjectWatch::Ref ObjectWatch::Acquire(std::string_view ns, std::string_view name) {
  std::string key = absl::StrCat(ns, "/", name);
  auto& entry = entries_[key];
  if (entry == nullptr) {
    entry = std::make_shared<Entry>(this, key, std::string(ns), std::string(name));
    if (running_) Start(entry);
  }
  ++entry->refs;
  return Ref(this, std::move(key));
}

void ObjectWatch::Drop(const std::string& key) {
  auto it = entries_.find(key);
  if (it == entries_.end() || --it->second->refs > 0) return;
  std::shared_ptr<Entry> entry = std::move(it->second);
  entries_.erase(it);
  entry->dropped = true;
  entry->group.Cancel();  // RunEntry keeps the entry until its watch has ended
}

ObjectWatch::View ObjectWatch::Get(std::string_view ns, std::string_view name) const {
  auto it = entries_.find(absl::StrCat(ns, "/", name));
  return it == entries_.end() ? View{} : it->second->view;
}

void ObjectWatch::Subscribe(std::function<void(const std::string& key)> fn) { subscribers_.push_back(std::move(fn)); }

void ObjectWatch::Notify(const std::string& key) {
  for (const auto& fn : subscribers_) fn(key);
}

void ObjectWatch::Start(const std::shared_ptr<Entry>& entry) { group_.Spawn(entry->key, RunEntry(this, entry)); }

Task<> ObjectWatch::RunEntry(ObjectWatch* /*self*/, std::shared_ptr<Entry> entry) {
  entry->group.Spawn("watch", entry->reflector.Run());
  (void)co_await entry->group.Join();
}

Task<> ObjectWatch::Run() {
  running_ = true;
  for (const auto& [key, entry] : entries_) Start(entry);
  Event never;
  bool aborted = false;
  try {
    co_await never.Wait();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  running_ = false;
  if (aborted) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    group_.Cancel();
    (void)co_await group_.Join();
    ThrowCancelled();
  }
}

}  // namespace vck::kube
