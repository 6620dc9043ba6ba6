// MergedTree: what the file system would be if an image's layers were unpacked one over the other, without any content:
// names, owners, modes, and where each file's content is to be found. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "image/tar_reader.h"

namespace vck::image {

// Layers are applied from the lowest to the highest, entries in the order of their archives, as containerd does:
// whiteouts
// (".wh.name", ".wh..wh..opq") hide what lower layers brought; hard links may lead into lower layers; the parents of a
// name may be symbolic links, which are followed inside the root; missing parents are made; a directory over a
// directory is merged with it, anything else replaces what was there. InvalidArgument for names that lead out of the
// root by
// "..", for links to what is not there, and for what no file system could hold. ResourceExhausted beyond the memory
// limit.
class MergedTree {
 public:
  using Index = uint32_t;
  static constexpr Index kNone = UINT32_MAX;
  static constexpr Index kRoot = 0;

  struct Inode {
    EntryType type = EntryType::kDirectory;
    uint16_t mode = 0755;
    uint32_t uid = 0, gid = 0;
    uint32_t mtime = 0;
    uint32_t major = 0, minor = 0;
    uint32_t links = 0;   // names; directories: 1
    uint32_t xattrs = 0;  // index for xattrs(); 0: none
    uint32_t target = 0;  // of a symbolic link: for text()
    uint32_t layer = 0;   // content: entry number `ordinal` of this layer
    uint32_t ordinal = 0;
    uint64_t size = 0;   // of a file's content
    Index name = kNone;  // the first of its names; the others by Node::next_link
  };
  struct Node {
    Index parent = kNone;
    Index inode = kNone;
    uint32_t name = 0;  // for text()
    Index first_child = kNone, next = kNone, previous = kNone;
    Index next_link = kNone;
    uint32_t layer = 0;  // the last that touched it, or anything below it
  };

  explicit MergedTree(size_t memory_limit = size_t{128} << 20);
  MergedTree(const MergedTree&) = delete;
  MergedTree& operator=(const MergedTree&) = delete;

  void BeginLayer();
  // The archive's entries count from 0 in each layer.
  Status Apply(const TarEntry& entry, uint32_t ordinal);
  void EndLayer();

  // ---- the result ----
  [[nodiscard]] const Node& node(Index i) const { return nodes_[i]; }
  [[nodiscard]] const Inode& inode(Index i) const { return inodes_[i]; }
  [[nodiscard]] size_t node_slots() const { return nodes_.size(); }
  [[nodiscard]] size_t inode_slots() const { return inodes_.size(); }  // some have no links: they are free
  [[nodiscard]] size_t size() const { return live_nodes_; }
  [[nodiscard]] std::string_view text(uint32_t id) const;
  using Xattrs = std::vector<std::pair<std::string, std::string>>;
  [[nodiscard]] const Xattrs& xattrs(uint32_t id) const { return xattr_sets_[id]; }
  [[nodiscard]] size_t xattr_set_count() const { return xattr_sets_.size(); }
  // The path inside the root, "" for the root itself.
  [[nodiscard]] std::string Path(Index node) const;
  // By its path, without following links; kNone if there is nothing. For tests.
  [[nodiscard]] Index Find(std::string_view path) const;
  [[nodiscard]] size_t memory() const;
  // Extended attributes that squashfs cannot hold, and those of overlayfs itself, are left out.
  [[nodiscard]] int64_t dropped_xattrs() const { return dropped_xattrs_; }

 private:
  struct TextHash {
    using is_transparent = void;
    const MergedTree* tree;
    size_t operator()(uint32_t id) const { return absl::Hash<std::string_view>()(tree->text(id)); }
    size_t operator()(std::string_view text) const { return absl::Hash<std::string_view>()(text); }
  };
  struct TextEqual {
    using is_transparent = void;
    const MergedTree* tree;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t a, std::string_view b) const { return tree->text(a) == b; }
    bool operator()(std::string_view a, uint32_t b) const { return a == tree->text(b); }
  };

  uint32_t Intern(std::string_view text);
  [[nodiscard]] Index Child(Index parent, std::string_view name) const;
  Index AddNode(Index parent, std::string_view name, Index inode);
  Index AddInode();
  void Unlink(Index node);
  void RemoveTree(Index node);
  // What lower layers brought at and below this node.
  void RemoveLower(Index node);
  void RemoveLowerChildren(Index node);
  void Touch(Index node);
  StatusOr<Index> Directory(const std::vector<std::string_view>& parts);
  Status SetAttributes(Inode& inode, const TarEntry& entry);
  uint32_t InternXattrs(const std::vector<std::pair<std::string, std::string>>& xattrs);
  Status Whiteout(const std::vector<std::string_view>& folder, std::string_view name);
  Status Link(Index parent, std::string_view name, const TarEntry& entry);

  size_t memory_limit_;
  uint32_t layer_ = 0;
  std::vector<Node> nodes_;
  std::vector<Inode> inodes_;
  std::vector<Index> free_nodes_, free_inodes_;
  size_t live_nodes_ = 1;
  std::string texts_;  // each with two bytes of length before it
  absl::flat_hash_set<uint32_t, TextHash, TextEqual> text_ids_;
  absl::flat_hash_map<uint64_t, Index> children_;  // by parent and name
  std::vector<Xattrs> xattr_sets_;
  absl::flat_hash_map<std::string, uint32_t> xattr_ids_;
  size_t xattr_bytes_ = 0;
  int64_t dropped_xattrs_ = 0;
};

// The parts of a path, without "." and empty ones; ".." takes away the one before it. InvalidArgument if it leads out
// of the root. The views are into `path`.
StatusOr<std::vector<std::string_view>> SplitPath(std::string_view path);

}  // namespace vck::image
