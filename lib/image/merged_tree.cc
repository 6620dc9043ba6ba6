#include "image/merged_tree.h"

#include <algorithm>
#include <deque>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::image {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::string_view kMeta = ".wh..wh.";  // AUFS' own
constexpr std::string_view kLinkDir = ".wh..wh.plnk";
constexpr size_t kMaxName = 255;     // NAME_MAX
constexpr size_t kMaxTarget = 4095;  // PATH_MAX with its NUL
constexpr size_t kMaxDepth = 1024;
constexpr int kMaxFollowed = 40;  // as the kernel
constexpr uint32_t kMaxLinks = 65000;
constexpr size_t kMaxXattr = 65536;  // XATTR_SIZE_MAX

std::string Quote(std::string_view path) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(path.substr(0, 300)), path.size() > 300 ? "…" : "", "\"");
}

Status Bad(std::string_view path, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("entry ", Quote(path), ": ", problem));
}

uint64_t ChildKey(uint32_t parent, uint32_t name) { return uint64_t{parent} << 32 | name; }

// What squashfs has names for. overlayfs reads its own ones from lower layers: an image must not speak to it.
bool Keeps(std::string_view xattr) {
  for (std::string_view prefix : {"user.", "trusted.", "security."}) {
    if (!xattr.starts_with(prefix)) continue;
    std::string_view rest = xattr.substr(prefix.size());
    return !rest.empty() && rest.size() < kMaxName && !(prefix != "security." && rest.starts_with("overlay."));
  }
  return false;
}

}  // namespace

StatusOr<std::vector<std::string_view>> SplitPath(std::string_view path) {
  std::vector<std::string_view> out;
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (out.empty()) return Bad(path, "the path leads out of the root");
      out.pop_back();
      continue;
    }
    if (part.size() > kMaxName) return Bad(path, "a name is longer than 255 bytes");
    out.push_back(part);
  }
  if (out.size() > kMaxDepth) return Bad(path, "the path is too deep");
  return out;
}

MergedTree::MergedTree(size_t memory_limit)
    : memory_limit_(memory_limit), text_ids_(16, TextHash{this}, TextEqual{this}) {
  Intern("");
  xattr_sets_.emplace_back();
  nodes_.emplace_back();
  inodes_.emplace_back();
  nodes_[kRoot].inode = 0;
  inodes_[0].links = 1;
  inodes_[0].name = kRoot;
}

std::string_view MergedTree::text(uint32_t id) const {
  size_t size = static_cast<unsigned char>(texts_[id]) | static_cast<size_t>(static_cast<unsigned char>(texts_[id + 1]))
                                                             << 8;
  return std::string_view(texts_).substr(id + 2, size);
}

uint32_t MergedTree::Intern(std::string_view text) {
  auto it = text_ids_.find(text);
  if (it != text_ids_.end()) return *it;
  auto id = static_cast<uint32_t>(texts_.size());
  texts_.push_back(static_cast<char>(text.size() & 0xff));
  texts_.push_back(static_cast<char>(text.size() >> 8));
  texts_.append(text);
  text_ids_.insert(id);
  return id;
}

size_t MergedTree::memory() const {
  return nodes_.capacity() * sizeof(Node) + inodes_.capacity() * sizeof(Inode) + texts_.capacity() +
         text_ids_.capacity() * 5 + children_.capacity() * 17 + xattr_bytes_ +
         (free_nodes_.capacity() + free_inodes_.capacity()) * sizeof(Index);
}

MergedTree::Index MergedTree::Child(Index parent, std::string_view name) const {
  auto id = text_ids_.find(name);
  if (id == text_ids_.end()) return kNone;
  auto it = children_.find(ChildKey(parent, *id));
  return it == children_.end() ? kNone : it->second;
}

MergedTree::Index MergedTree::AddInode() {
  if (!free_inodes_.empty()) {
    Index i = free_inodes_.back();
    free_inodes_.pop_back();
    inodes_[i] = {};
    return i;
  }
  inodes_.emplace_back();
  return static_cast<Index>(inodes_.size() - 1);
}

MergedTree::Index MergedTree::AddNode(Index parent, std::string_view name, Index inode) {
  Index i = 0;
  if (free_nodes_.empty()) {
    i = static_cast<Index>(nodes_.size());
    nodes_.emplace_back();
  } else {
    i = free_nodes_.back();
    free_nodes_.pop_back();
    nodes_[i] = {};
  }
  ++live_nodes_;
  Node& node = nodes_[i];
  node.parent = parent;
  node.inode = inode;
  node.name = Intern(name);
  node.next = nodes_[parent].first_child;
  if (node.next != kNone) nodes_[node.next].previous = i;
  nodes_[parent].first_child = i;
  node.next_link = inodes_[inode].name;
  inodes_[inode].name = i;
  ++inodes_[inode].links;
  children_[ChildKey(parent, node.name)] = i;
  Touch(i);
  return i;
}

// Marks the node and all above it as touched by this layer.
void MergedTree::Touch(Index node) {
  while (node != kNone) {
    nodes_[node].layer = layer_;
    node = nodes_[node].parent;
  }
}

// Takes one name away; it has no children (any more).
void MergedTree::Unlink(Index i) {
  Node& node = nodes_[i];
  children_.erase(ChildKey(node.parent, node.name));
  if (node.previous != kNone) {
    nodes_[node.previous].next = node.next;
  } else {
    nodes_[node.parent].first_child = node.next;
  }
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
  Inode& inode = inodes_[node.inode];
  Index* link = &inode.name;
  while (*link != i) link = &nodes_[*link].next_link;
  *link = node.next_link;
  if (--inode.links == 0) free_inodes_.push_back(node.inode);
  free_nodes_.push_back(i);
  --live_nodes_;
}

void MergedTree::RemoveTree(Index top) {
  Index at = top;
  while (true) {
    if (nodes_[at].first_child != kNone) {
      at = nodes_[at].first_child;
      continue;
    }
    Index parent = nodes_[at].parent;
    Unlink(at);
    if (at == top) return;
    at = parent;
  }
}

void MergedTree::RemoveLower(Index node) {
  if (nodes_[node].layer != layer_) {
    RemoveTree(node);
  } else {
    RemoveLowerChildren(node);
  }
}

void MergedTree::RemoveLowerChildren(Index top) {
  std::vector<Index> work = {top};
  while (!work.empty()) {
    Index at = work.back();
    work.pop_back();
    for (Index child = nodes_[at].first_child; child != kNone;) {
      Index next = nodes_[child].next;
      if (nodes_[child].layer != layer_) {
        RemoveTree(child);
      } else if (nodes_[child].first_child != kNone) {
        work.push_back(child);
      }
      child = next;
    }
  }
}

void MergedTree::BeginLayer() { ++layer_; }

void MergedTree::EndLayer() {
  // AUFS keeps there what hard links share; the links have it now.
  Index links = Child(kRoot, kLinkDir);
  if (links != kNone) RemoveTree(links);
}

// The directory of that path. Symbolic links on the way are followed inside the root, what is missing is made.
StatusOr<MergedTree::Index> MergedTree::Directory(const std::vector<std::string_view>& parts) {
  Index at = kRoot;
  int followed = 0;
  std::deque<std::string> rest(parts.begin(), parts.end());
  size_t depth = 0;
  while (!rest.empty()) {
    std::string part = std::move(rest.front());
    rest.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      // As in a chroot: above the root is the root.
      if (at != kRoot) {
        at = nodes_[at].parent;
        --depth;
      }
      continue;
    }
    if (part.size() > kMaxName) return absl::InvalidArgumentError("a name is longer than 255 bytes");
    Index child = Child(at, part);
    if (child == kNone) {
      if (depth == kMaxDepth) return absl::InvalidArgumentError("the path is too deep");
      Index inode = AddInode();
      child = AddNode(at, part, inode);
    }
    const Inode& inode = inodes_[nodes_[child].inode];
    if (inode.type == EntryType::kDirectory) {
      at = child;
      ++depth;
      continue;
    }
    if (inode.type != EntryType::kSymlink) {
      return absl::InvalidArgumentError(absl::StrCat(Quote(part), " on the way to it is not a directory"));
    }
    if (++followed > kMaxFollowed) return absl::InvalidArgumentError("too many symbolic links on the way to it");
    std::string target(text(inode.target));
    if (target.starts_with('/')) {
      at = kRoot;
      depth = 0;
    }
    std::vector<std::string> steps = absl::StrSplit(target, '/');
    rest.insert(rest.begin(), steps.begin(), steps.end());
  }
  return at;
}

uint32_t MergedTree::InternXattrs(const std::vector<std::pair<std::string, std::string>>& all) {
  Xattrs kept;
  for (const auto& [name, value] : all) {
    if (Keeps(name) && value.size() <= kMaxXattr) {
      kept.emplace_back(name, value);
    } else {
      ++dropped_xattrs_;
    }
  }
  if (kept.empty()) return 0;
  std::ranges::sort(kept);
  // One of a name.
  kept.erase(std::unique(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
             kept.end());
  std::string key;
  for (const auto& [name, value] : kept) absl::StrAppend(&key, name.size(), " ", value.size(), " ", name, value);
  auto [it, fresh] = xattr_ids_.emplace(key, static_cast<uint32_t>(xattr_sets_.size()));
  if (fresh) {
    xattr_bytes_ += 3 * key.size() + 128;
    xattr_sets_.push_back(std::move(kept));
  }
  return it->second;
}

Status MergedTree::SetAttributes(Inode& inode, const TarEntry& entry) {
  inode.type = entry.type;
  inode.mode = static_cast<uint16_t>(entry.mode);
  inode.uid = entry.uid;
  inode.gid = entry.gid;
  // squashfs has 32 bits without sign.
  inode.mtime = static_cast<uint32_t>(std::clamp<int64_t>(entry.mtime, 0, UINT32_MAX));
  inode.xattrs = InternXattrs(entry.xattrs);
  if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    // As many bits as the kernel's dev_t has.
    if (entry.major >= 1U << 12 || entry.minor >= 1U << 20) return Bad(entry.path, "a device number that is too large");
    inode.major = entry.major;
    inode.minor = entry.minor;
  }
  if (entry.type == EntryType::kSymlink) {
    if (entry.link.empty() || entry.link.size() > kMaxTarget)
      return Bad(entry.path, "a symbolic link to nothing usable");
    inode.target = Intern(entry.link);
  }
  return absl::OkStatus();
}

Status MergedTree::Whiteout(const std::vector<std::string_view>& folder, std::string_view name) {
  // Where the folder is not there, nothing is to be hidden.
  Index at = kRoot;
  for (std::string_view part : folder) {
    at = Child(at, part);
    if (at == kNone) return absl::OkStatus();
    if (inodes_[nodes_[at].inode].type != EntryType::kDirectory) break;
  }
  if (inodes_[nodes_[at].inode].type != EntryType::kDirectory) {
    auto found = Directory(folder);
    if (!found.ok()) return Bad(name, found.status().message());
    at = *found;
  }
  if (name == kOpaque) {
    RemoveLowerChildren(at);
    return absl::OkStatus();
  }
  Index hidden = Child(at, name.substr(kWhiteout.size()));
  if (hidden != kNone) RemoveLower(hidden);
  return absl::OkStatus();
}

// A further name for what is there.
Status MergedTree::Link(Index parent, std::string_view name, const TarEntry& entry) {
  ASSIGN_OR_RETURN(std::vector<std::string_view> parts, SplitPath(entry.link));
  if (parts.empty()) return Bad(entry.path, "a hard link to the root");
  std::string_view last = parts.back();
  parts.pop_back();
  auto folder = Directory(parts);
  if (!folder.ok())
    return Bad(entry.path, absl::StrCat("hard link to ", Quote(entry.link), ": ", folder.status().message()));
  Index target = Child(*folder, last);
  if (target == kNone)
    return Bad(entry.path, absl::StrCat("a hard link to ", Quote(entry.link), ", which is not there"));
  Index inode = nodes_[target].inode;
  if (inodes_[inode].type == EntryType::kDirectory) return Bad(entry.path, "a hard link to a directory");
  Index old = Child(parent, name);
  if (old == target) {
    Touch(old);
    return absl::OkStatus();
  }
  if (inodes_[inode].links >= kMaxLinks) return Bad(entry.path, "too many hard links");
  if (old != kNone) {
    // The target may be below what is replaced.
    for (Index up = target; up != kNone; up = nodes_[up].parent) {
      if (up == old) return Bad(entry.path, "a hard link that would replace a folder of its target");
    }
    RemoveTree(old);
  }
  AddNode(parent, name, inode);
  return absl::OkStatus();
}

Status MergedTree::Apply(const TarEntry& entry, uint32_t ordinal) {
  if (memory() > memory_limit_) {
    return absl::ResourceExhaustedError(absl::StrCat("the image has too many files: more than ", live_nodes_));
  }
  ASSIGN_OR_RETURN(std::vector<std::string_view> parts, SplitPath(entry.path));
  if (parts.empty()) {
    // "./": the root's own attributes.
    if (entry.type != EntryType::kDirectory) return Bad(entry.path, "the root is not a directory");
    return SetAttributes(inodes_[0], entry);
  }
  std::string_view name = parts.back();
  parts.pop_back();
  if (name == kOpaque || (name.starts_with(kWhiteout) && !name.starts_with(kMeta))) {
    if (name != kOpaque && name.size() == kWhiteout.size()) return Bad(entry.path, "a whiteout of nothing");
    std::string_view hidden = name.substr(kWhiteout.size());
    if (hidden == "." || hidden == "..") return Bad(entry.path, "a whiteout of a folder's own name");
    return Whiteout(parts, name);
  }
  bool meta = name.starts_with(kMeta) ||
              std::ranges::any_of(parts, [](std::string_view part) { return part.starts_with(kMeta); });
  // Of AUFS' own files only those that hard links lead to are of interest, until the end of the layer.
  bool shared = !parts.empty() && parts.front() == kLinkDir && entry.type == EntryType::kFile;
  if (meta && !shared) return absl::OkStatus();

  auto folder = Directory(parts);
  if (!folder.ok()) return Bad(entry.path, folder.status().message());
  if (entry.type == EntryType::kHardLink) return Link(*folder, name, entry);
  Index old = Child(*folder, name);
  if (old != kNone && entry.type == EntryType::kDirectory && inodes_[nodes_[old].inode].type == EntryType::kDirectory) {
    Touch(old);
    return SetAttributes(inodes_[nodes_[old].inode], entry);
  }
  Inode made;
  RETURN_IF_ERROR(SetAttributes(made, entry));
  if (old != kNone) RemoveTree(old);
  Index i = AddInode();
  made.layer = layer_ - 1;
  made.ordinal = ordinal;
  if (entry.type == EntryType::kFile) made.size = static_cast<uint64_t>(entry.size);
  inodes_[i] = made;
  AddNode(*folder, name, i);
  return absl::OkStatus();
}

std::string MergedTree::Path(Index node) const {
  std::vector<std::string_view> parts;
  for (; node != kRoot; node = nodes_[node].parent) parts.push_back(text(nodes_[node].name));
  std::ranges::reverse(parts);
  std::string out;
  for (std::string_view part : parts) absl::StrAppend(&out, out.empty() ? "" : "/", part);
  return out;
}

MergedTree::Index MergedTree::Find(std::string_view path) const {
  auto parts = SplitPath(path);
  if (!parts.ok()) return kNone;
  Index at = kRoot;
  for (std::string_view part : *parts) {
    at = Child(at, part);
    if (at == kNone) return kNone;
  }
  return at;
}

}  // namespace vck::image
