#include "image/merged_tree.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"

namespace vck::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TarEntry E(EntryType type, std::string path, std::string link = "", int64_t size = 0) {
  return {.type = type, .path = std::move(path), .link = std::move(link), .size = size, .mode = 0644};
}
TarEntry F(std::string path) { return E(EntryType::kFile, std::move(path), "", 1); }
TarEntry D(std::string path, uint32_t mode = 0755) {
  TarEntry e = E(EntryType::kDirectory, std::move(path));
  e.mode = mode;
  return e;
}
TarEntry S(std::string path, std::string target) { return E(EntryType::kSymlink, std::move(path), std::move(target)); }
TarEntry L(std::string path, std::string target) { return E(EntryType::kHardLink, std::move(path), std::move(target)); }

using Layers = std::vector<std::vector<TarEntry>>;

class Tree {
 public:
  explicit Tree(const Layers& layers, size_t limit = size_t{128} << 20) : tree_(limit) {
    for (const auto& layer : layers) {
      tree_.BeginLayer();
      uint32_t ordinal = 0;
      for (const TarEntry& entry : layer) status_.Update(tree_.Apply(entry, ordinal++));
      tree_.EndLayer();
    }
  }
  MergedTree& operator*() { return tree_; }
  MergedTree* operator->() { return &tree_; }
  [[nodiscard]] const Status& status() const { return status_; }

  // "path" of directories with a slash, of files with where they come from: "a/b=0.3", of links "l->target".
  std::vector<std::string> All() {
    std::vector<std::string> out;
    Walk(MergedTree::kRoot, out);
    std::ranges::sort(out);
    EXPECT_EQ(out.size() + 1, tree_.size());
    return out;
  }

 private:
  void Walk(MergedTree::Index at, std::vector<std::string>& out) {
    MergedTree::Index previous = MergedTree::kNone;
    for (auto c = tree_.node(at).first_child; c != MergedTree::kNone; c = tree_.node(c).next) {
      const auto& node = tree_.node(c);
      const auto& inode = tree_.inode(node.inode);
      EXPECT_EQ(node.parent, at);
      EXPECT_EQ(node.previous, previous);
      previous = c;
      std::string path = tree_.Path(c);
      EXPECT_EQ(tree_.Find(path), c);
      uint32_t names = 0;
      bool found = false;
      for (auto n = inode.name; n != MergedTree::kNone; n = tree_.node(n).next_link) {
        ++names;
        found = found || n == c;
      }
      EXPECT_EQ(names, inode.links);
      EXPECT_TRUE(found);
      if (inode.type == EntryType::kDirectory) {
        out.push_back(path + "/");
        Walk(c, out);
      } else if (inode.type == EntryType::kSymlink) {
        out.push_back(absl::StrCat(path, "->", tree_.text(inode.target)));
      } else {
        out.push_back(absl::StrCat(path, "=", inode.layer, ".", inode.ordinal));
      }
    }
  }
  MergedTree tree_;
  Status status_;
};

TEST(MergedTreeTest, UpperOverLower) {
  Tree t({{D("./"), D("./a", 0700), F("./a/x"), F("/a/y"), F("b")}, {D("a", 0711), F("a/x"), F("c/d/e")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("a/", "a/x=1.1", "a/y=0.3", "b=0.4", "c/", "c/d/", "c/d/e=1.2"));
  EXPECT_EQ(t->inode(t->node(t->Find("a")).inode).mode, 0711);
  EXPECT_EQ(t->inode(t->node(t->Find("c")).inode).mode, 0755);
}

TEST(MergedTreeTest, LastOfOneLayerCounts) {
  Tree t({{F("a"), F("a"), D("b"), F("b/x"), F("b")}});
  EXPECT_THAT(t.All(), ElementsAre("a=0.1", "b=0.4"));
}

TEST(MergedTreeTest, KindsReplaceEachOther) {
  Tree t({{D("d"), F("d/x"), F("f"), S("s", "d"), D("k"), F("k/x")},
          {F("d"), D("f"), F("f/y"), D("s"), F("s/z"), S("k", "f")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("d=1.0", "f/", "f/y=1.2", "k->f", "s/", "s/z=1.4"));
}

TEST(MergedTreeTest, Whiteouts) {
  Tree t({{F("a"), D("d"), F("d/x"), D("d/e"), F("d/e/y"), F("keep")},
          {F(".wh.a"), F(".wh.d"), F(".wh.nothing"), F("no/.wh.x")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("keep=0.5"));
}

// image-spec: whiteouts hide what lower layers brought, never what their own layer does.
TEST(MergedTreeTest, WhiteoutsAndTheirOwnLayer) {
  Tree t({{D("d"), F("d/old"), F("f")}, {D("d"), F("d/new"), F(".wh.d"), F("f"), F(".wh.f")}});
  EXPECT_THAT(t.All(), ElementsAre("d/", "d/new=1.1", "f=1.3"));
  Tree before({{D("d"), F("d/old"), F("f")}, {F(".wh.d"), D("d"), F("d/new"), F(".wh.f"), F("f")}});
  EXPECT_THAT(before.All(), ElementsAre("d/", "d/new=1.2", "f=1.4"));
}

TEST(MergedTreeTest, OpaqueDirectories) {
  Tree t({{D("d"), F("d/x"), D("d/sub"), F("d/sub/y"), F("other")},
          {D("d"), F("d/new"), D("d/sub"), F("d/sub/z"), F("d/.wh..wh..opq"), F("d/late")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("d/", "d/late=1.5", "d/new=1.1", "d/sub/", "d/sub/z=1.3", "other=0.4"));
  Tree root({{F("a"), D("b")}, {F(".wh..wh..opq"), F("c")}});
  EXPECT_THAT(root.All(), ElementsAre("c=1.1"));
}

TEST(MergedTreeTest, AufsFilesAreLeftOut) {
  Tree t({{D(".wh..wh.plnk"), F(".wh..wh.plnk/1.2"), L("a", ".wh..wh.plnk/1.2"), L("b", ".wh..wh.plnk/1.2"),
           F(".wh..wh.aufs"), D(".wh..wh.orph")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("a=0.1", "b=0.1"));
}

TEST(MergedTreeTest, HardLinks) {
  Tree t({{F("a"), L("b", "a"), L("d/c", "./b"), S("s", "x"), L("t", "s")}, {F("a")}, {F(".wh.b"), L("e", "/d/c")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("a=1.0", "d/", "d/c=0.0", "e=0.0", "s->x", "t->x"));
  EXPECT_EQ(t->node(t->Find("d/c")).inode, t->node(t->Find("e")).inode);
  EXPECT_EQ(t->inode(t->node(t->Find("e")).inode).links, 2U);
}

TEST(MergedTreeTest, HardLinkToItself) {
  Tree t({{F("a"), L("a", "a")}, {L("a", "a")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("a=0.0"));
}

TEST(MergedTreeTest, ParentsThatAreLinks) {
  Tree t({{D("usr"), D("usr/lib"), S("lib", "usr/lib"), S("abs", "/usr/lib"), S("up", "../../../usr")},
          {F("lib/a"), F("abs/b"), F("up/c"), L("lib/d", "abs/a"), F("lib/../e"), F("abs/.wh.b")}});
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_THAT(t.All(), ElementsAre("abs->/usr/lib", "e=1.4", "lib->usr/lib", "up->../../../usr", "usr/", "usr/c=1.2",
                                   "usr/lib/", "usr/lib/a=1.0", "usr/lib/b=1.1", "usr/lib/d=1.0"));
  Tree next({{D("usr"), S("lib", "usr"), F("usr/x")}, {F("lib/.wh.x")}});
  EXPECT_THAT(next.All(), ElementsAre("lib->usr", "usr/"));
  // Where a link leads is made, as if it was there.
  Tree dangling({{S("a", "/nowhere/else"), F("a/f")}});
  EXPECT_THAT(dangling.All(), ElementsAre("a->/nowhere/else", "nowhere/", "nowhere/else/", "nowhere/else/f=0.1"));
}

TEST(MergedTreeTest, Refused) {
  std::string deep;
  for (int i = 0; i < 1100; ++i) deep += "d/";
  const std::vector<std::pair<Layers, std::string>> cases = {
      {{{F("../x")}}, "leads out of the root"},
      {{{F("a/../../x")}}, "leads out of the root"},
      {{{F("a"), L("b", "../a")}}, "leads out of the root"},
      {{{L("b", "a")}}, "which is not there"},
      {{{D("d"), L("b", "d")}}, "a hard link to a directory"},
      {{{L("b", "/")}}, "a hard link to the root"},
      {{{F("a"), F("a/b")}}, "is not a directory"},
      {{{S("a", "b"), S("b", "a"), F("a/x")}}, "too many symbolic links"},
      {{{F("./")}}, "the root is not a directory"},
      {{{F(std::string(256, 'x'))}}, "longer than 255"},
      {{{F(deep + "x")}}, "too deep"},
      {{{S("s", "")}}, "a symbolic link to nothing usable"},
      {{{S("s", std::string(5000, 'x'))}}, "a symbolic link to nothing usable"},
      {{{F(".wh.")}}, "a whiteout of nothing"},
      {{{F("a/.wh...")}}, "a whiteout of a folder's own name"},
      {{{D("d"), F("d/x"), L("d", "d/x")}}, "would replace a folder of its target"},
  };
  for (const auto& [layers, problem] : cases) {
    Tree t(layers);
    EXPECT_TRUE(absl::IsInvalidArgument(t.status())) << problem << ": " << t.status();
    EXPECT_THAT(std::string(t.status().message()), HasSubstr(problem));
    (void)t.All();
  }
  TarEntry device = E(EntryType::kCharDevice, "c");
  device.major = 5000;
  EXPECT_THAT(std::string(Tree({{device}}).status().message()), HasSubstr("device number"));
}

TEST(MergedTreeTest, ExtendedAttributes) {
  TarEntry a = F("a"), b = F("b"), c = F("c");
  a.xattrs = {
      {"security.capability", "x"}, {"user.y", "1"}, {"system.posix_acl_access", "z"}, {"trusted.overlay.opaque", "y"}};
  b.xattrs = {{"user.y", "1"}, {"security.capability", "x"}};
  Tree t({{a, b, c}});
  auto set = [&](const char* name) { return t->inode(t->node(t->Find(name)).inode).xattrs; };
  EXPECT_NE(set("a"), 0U);
  EXPECT_EQ(set("a"), set("b"));
  EXPECT_EQ(set("c"), 0U);
  EXPECT_EQ(t->xattrs(set("a")).size(), 2U);
  EXPECT_EQ(t->dropped_xattrs(), 2);
}

TEST(MergedTreeTest, MemoryIsLimitedAndUsedAgain) {
  constexpr int kFiles = 5000;
  std::vector<TarEntry> many;
  for (int i = 0; i < kFiles; ++i) many.push_back(F(absl::StrCat("dir", i % 100, "/some-file-name-", i)));
  Tree small({many}, 1 << 18);
  EXPECT_TRUE(absl::IsResourceExhausted(small.status())) << small.status();
  Tree once({many});
  EXPECT_LT(once->memory() / kFiles, 300U);
  Layers again = {many};
  for (int i = 0; i < 3; ++i) {
    again.push_back({F(".wh..wh..opq")});
    again.push_back(many);
  }
  Tree t(again);
  ASSERT_TRUE(t.status().ok()) << t.status();
  EXPECT_LT(t->memory(), once->memory() * 2);
}

}  // namespace
}  // namespace vck::image
