#include "node/log_archive.h"

#include <gtest/gtest.h>

#include "node/fake_links.h"
#include "support/loop.h"

namespace vck::node {
namespace {

class FakeFiles : public LogFiles {
 public:
  Task<Status> Upload(std::string path, int64_t size, http::BodySource source) override {
    if (!status.ok()) co_return std::exchange(status, absl::OkStatus());
    has_folder = true;
    if (slow != nullptr) co_await slow->Sleep(absl::Seconds(2));
    std::string content;
    while (true) {
      CO_ASSIGN_OR_RETURN(std::string piece, co_await source());
      if (piece.empty()) break;
      content += piece;
    }
    EXPECT_EQ(static_cast<int64_t>(content.size()), size);
    files[path] = content;
    co_return absl::OkStatus();
  }
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> Open(std::string path) override {
    if (!files.contains(path)) co_return absl::NotFoundError(path);
    co_return std::make_unique<TextBody>(files[path]);
  }
  Task<Status> Remove(std::string folder) override {
    std::erase_if(files, [&](const auto& file) { return file.first.starts_with(folder + "/"); });
    co_return absl::OkStatus();
  }
  Task<StatusOr<std::vector<std::string>>> Folders() override {
    std::vector<std::string> out;
    for (const auto& [path, content] : files) out.push_back(path.substr(0, path.find('/')));
    co_return out;
  }

  Task<Status> RemoveIfEmpty() override {
    if (slow != nullptr) co_await slow->Sleep(absl::Seconds(2));
    if (files.empty()) has_folder = false;
    co_return absl::OkStatus();
  }

  std::map<std::string, std::string> files;
  bool has_folder = true;
  Clock* slow = nullptr;  // uploads and the removal of the folder take two seconds
  Status status;
};

class LogArchiveTest : public ::testing::Test {
 public:
  static guestapi::GuestState Ended() {
    guestapi::GuestState state;
    state.containers.push_back({.name = "main", .id = "1", .restart_count = 1});
    state.containers.push_back({.name = "never"});
    return state;
  }
  // Runs `body` beside the archive.
  template <class Body>
  void With(Body body) {
    loop_.Run(Both(this, &body));
  }
  template <class Body>
  static Task<> Both(LogArchiveTest* self, Body* body) {
    TaskGroup group(self->loop_.executor());
    group.Spawn("archive", self->archive_.Run([self](const std::string& uid) { return self->there_.contains(uid); }));
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    co_await (*body)(self);
    group.Cancel();
    (void)co_await group.Join();
  }
  static Task<std::string> Content(LogArchiveTest* self, std::string container, bool previous) {
    auto reader = co_await self->archive_.Open("u", std::move(container), previous);
    if (!reader.ok()) co_return std::string(reader.status().message());
    std::string all;
    while (true) {
      auto piece = co_await (*reader)->Read();
      if (!piece.ok() || piece->empty()) co_return all;
      all += *piece;
    }
  }

  vck::testing::Loop loop_;
  FakeLinks links_;
  FakeFiles files_;
  std::set<std::string> there_ = {"u"};
  std::vector<std::string> changed_;
  LogArchive archive_{{.executor = loop_.executor(),
                       .clock = loop_.clock(),
                       .links = links_,
                       .files = files_,
                       .changed = [this](const std::string& uid) { changed_.push_back(uid); }}};
};

constexpr char kCurrent[] = "/v1/logfile?container=main&run=current";
constexpr char kPrevious[] = "/v1/logfile?container=main&run=previous";

TEST_F(LogArchiveTest, SavesWhatRanAndForgetsIt) {
  links_.answers = {{kCurrent, "a log that comes in pieces"}, {kPrevious, "the one before"}};
  With([](LogArchiveTest* self) -> Task<> {
    self->archive_.Save("u", Ended());
    self->archive_.Save("u", Ended());  // once is enough
    EXPECT_FALSE(self->archive_.Saved("u"));
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    EXPECT_TRUE(self->archive_.Saved("u"));
    EXPECT_EQ(self->changed_, std::vector<std::string>{"u"});
    EXPECT_EQ(self->links_.asked.size(), 2U);
    EXPECT_EQ(co_await Content(self, "main", false), "a log that comes in pieces");
    EXPECT_EQ(co_await Content(self, "main", true), "the one before");
    EXPECT_TRUE(absl::IsNotFound((co_await self->archive_.Open("u", "never", false)).status()));
    self->archive_.Forget("u");
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    EXPECT_TRUE(self->files_.files.empty());
    EXPECT_FALSE(self->files_.has_folder);
  });
}

TEST_F(LogArchiveTest, RemovesTheFolderOnlyWithTheLastPod) {
  links_.answers = {{kCurrent, "x"}, {kPrevious, "y"}};
  With([](LogArchiveTest* self) -> Task<> {
    self->archive_.Save("u", Ended());
    self->archive_.Save("v", Ended());
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    self->archive_.Forget("u");
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    EXPECT_TRUE(self->files_.has_folder);
    self->files_.slow = &self->loop_.clock();
    self->archive_.Forget("v");
    co_await self->loop_.clock().Sleep(absl::Seconds(1));
    // What comes while the folder is being removed waits until it can be made again.
    self->archive_.Save("w", Ended());
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1500));
    EXPECT_FALSE(self->archive_.Saved("w"));
    co_await self->loop_.clock().Sleep(absl::Seconds(5));
    EXPECT_TRUE(self->archive_.Saved("w"));
    EXPECT_TRUE(self->files_.has_folder);
    EXPECT_TRUE(self->files_.files.contains("w/main.log"));
  });
}

TEST_F(LogArchiveTest, RemovesAnEmptyFolderAtStart) {
  With([](LogArchiveTest* self) -> Task<> {
    EXPECT_FALSE(self->files_.has_folder);
    co_return;
  });
}

TEST_F(LogArchiveTest, WhatIsForgottenWhileItIsSavedIsRemoved) {
  links_.answers = {{kCurrent, "x"}, {kPrevious, "y"}};
  With([](LogArchiveTest* self) -> Task<> {
    self->files_.slow = &self->loop_.clock();
    self->archive_.Save("u", Ended());
    co_await self->loop_.clock().Sleep(absl::Seconds(1));
    self->archive_.Forget("u");
    co_await self->loop_.clock().Sleep(absl::Seconds(20));
    EXPECT_TRUE(self->files_.files.empty());
    EXPECT_FALSE(self->files_.has_folder);
  });
}

TEST_F(LogArchiveTest, TriesAgainAfterAFailure) {
  links_.answers = {{kCurrent, "x"}, {kPrevious, "y"}};
  files_.status = absl::UnavailableError("no datastore");
  With([](LogArchiveTest* self) -> Task<> {
    self->archive_.Save("u", Ended());
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    EXPECT_FALSE(self->archive_.Saved("u"));
    self->archive_.Save("u", Ended());  // too soon
    EXPECT_EQ(self->links_.asked.size(), 2U);
    co_await self->loop_.clock().Sleep(absl::Seconds(6));
    EXPECT_EQ(self->changed_.size(), 1U);  // somebody asks again
    self->archive_.Save("u", Ended());
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    EXPECT_TRUE(self->archive_.Saved("u"));
  });
}

TEST_F(LogArchiveTest, RemovesWhatAnEarlierProcessLeft) {
  files_.files = {{"gone/main.log", "x"}, {"u/main.log", "y"}};
  With([](LogArchiveTest* self) -> Task<> {
    EXPECT_FALSE(self->files_.files.contains("gone/main.log"));
    EXPECT_EQ(co_await Content(self, "main", false), "y");
    EXPECT_FALSE(self->archive_.Saved("u"));  // who knows whether that is all
    self->archive_.Forget("u");
    co_await self->loop_.clock().Sleep(absl::Milliseconds(1));
    EXPECT_TRUE(self->files_.files.empty());
  });
}

}  // namespace
}  // namespace vck::node
