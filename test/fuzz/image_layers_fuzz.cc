// Layers from anybody. The first byte chooses: bytes of an archive as they are, bytes whose checksums are put right
// first (so that the fuzzer gets behind them), packed bytes, or entries of layers directly. The tree must stay a tree.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "image/decompressor.h"
#include "image/merged_tree.h"
#include "image/tar_reader.h"

namespace {

using vck::image::Decompressor;
using vck::image::EntryType;
using vck::image::MergedTree;
using vck::image::TarEntry;
using vck::image::TarReader;

void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckTree(const MergedTree& tree) {
  std::vector<MergedTree::Index> work = {MergedTree::kRoot};
  std::vector<uint32_t> names(tree.inode_slots());
  size_t seen = 0;
  while (!work.empty()) {
    MergedTree::Index at = work.back();
    work.pop_back();
    Require(++seen <= tree.size());
    const auto& inode = tree.inode(tree.node(at).inode);
    ++names[tree.node(at).inode];
    Require(inode.type != EntryType::kHardLink);
    if (inode.type != EntryType::kDirectory) {
      Require(tree.node(at).first_child == MergedTree::kNone);
      continue;
    }
    MergedTree::Index previous = MergedTree::kNone;
    for (auto c = tree.node(at).first_child; c != MergedTree::kNone; c = tree.node(c).next) {
      Require(tree.node(c).parent == at && tree.node(c).previous == previous);
      std::string_view name = tree.text(tree.node(c).name);
      Require(!name.empty() && name.size() <= 255 && name != "." && name != ".." &&
              name.find('/') == std::string_view::npos);
      previous = c;
      work.push_back(c);
    }
  }
  Require(seen == tree.size());
  for (MergedTree::Index i = 0; i < tree.inode_slots(); ++i) Require(tree.inode(i).links == names[i]);
}

struct Told {
  bool error = false;
  std::string text;
  bool operator==(const Told&) const = default;
};

// What is told must not depend on how the bytes are cut.
Told Read(std::string_view tar, size_t piece, MergedTree* tree) {
  Told out;
  TarReader reader;
  uint32_t ordinal = 0;
  int64_t content = 0;
  bool tree_ok = true;
  if (tree != nullptr) tree->BeginLayer();
  while (!out.error) {
    std::string_view input = tar.substr(0, piece);
    tar.remove_prefix(input.size());
    bool ended = input.empty();
    TarReader::Event event = TarReader::Event::kEntry;
    while (event != TarReader::Event::kNeedMore) {
      auto next = reader.Next(&input);
      if (!next.ok()) {
        out.error = true;
        break;
      }
      event = *next;
      if (event == TarReader::Event::kEnd) break;
      if (event == TarReader::Event::kEntry) {
        const TarEntry& e = reader.entry();
        Require(content == 0 && e.size >= 0 && e.path.find('\0') == std::string::npos);
        content = e.size;
        out.text += e.path + "|" + e.link + "|" + std::to_string(e.size) + "\n";
        if (tree != nullptr && tree_ok) tree_ok = tree->Apply(e, ordinal++).ok();
      } else if (event == TarReader::Event::kData) {
        out.text += reader.data();
        content -= static_cast<int64_t>(reader.data().size());
      } else if (event == TarReader::Event::kZeros) {
        Require(reader.zeros() > 0);
        out.text += "0*" + std::to_string(reader.zeros());
        content -= reader.zeros();
      }
      Require(content >= 0);
    }
    if (event == TarReader::Event::kEnd) break;
    if (ended) {
      out.error = out.error || !reader.Finish().ok();
      break;
    }
  }
  if (tree != nullptr) tree->EndLayer();
  // How much was told before an error may differ.
  if (out.error) out.text.clear();
  return out;
}

std::string PutSumsRight(std::string tar) {
  for (size_t at = 0; at + 512 <= tar.size();) {
    std::string_view block = std::string_view(tar).substr(at, 512);
    uint64_t size = 0;
    for (char c : block.substr(124, 11)) size = c >= '0' && c <= '7' ? size * 8 + static_cast<uint64_t>(c - '0') : size;
    if (block.find_first_not_of('\0') != std::string_view::npos) {
      tar.replace(at + 148, 8, "        ");
      unsigned sum = 0;
      for (char c : block) sum += static_cast<unsigned char>(c);
      for (int i = 5; i >= 0; --i, sum /= 8) tar[at + 148 + static_cast<size_t>(i)] = static_cast<char>('0' + sum % 8);
      tar[at + 154] = '\0';
    }
    at += 512 + std::min<uint64_t>((size + 511) / 512 * 512, tar.size());
  }
  return tar;
}

// Lines "<type><path>[=link]"; an empty line begins a layer.
void Entries(std::string_view text) {
  MergedTree tree(1 << 20);
  tree.BeginLayer();
  uint32_t ordinal = 0;
  while (!text.empty()) {
    size_t end = std::min(text.size(), text.find('\n'));
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    if (line.empty()) {
      tree.EndLayer();
      tree.BeginLayer();
      ordinal = 0;
      continue;
    }
    TarEntry entry;
    switch (line[0]) {
      case 'd':
        entry.type = EntryType::kDirectory;
        break;
      case 's':
        entry.type = EntryType::kSymlink;
        break;
      case 'h':
        entry.type = EntryType::kHardLink;
        break;
      case 'c':
        entry.type = EntryType::kCharDevice;
        break;
      default:
        entry.size = 1;
    }
    size_t equals = line.find('=');
    entry.path = line.substr(1, equals == std::string_view::npos ? equals : equals - 1);
    if (equals != std::string_view::npos) entry.link = line.substr(equals + 1);
    if (equals == 0 || entry.path.find('\0') != std::string::npos || entry.link.find('\0') != std::string::npos)
      continue;
    (void)tree.Apply(entry, ordinal++);
    CheckTree(tree);
  }
  tree.EndLayer();
  CheckTree(tree);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
    case 1: {
      std::string tar(text);
      if (data[0] % 4 == 1) tar = PutSumsRight(std::move(tar));
      MergedTree tree(1 << 20);
      Told whole = Read(tar, tar.size() + 1, &tree);
      CheckTree(tree);
      Require(whole == Read(tar, 1 + data[0] * 3U, nullptr));
      break;
    }
    case 2: {
      auto decompressor = Decompressor::For(text);
      std::string out(4096, '\0');
      size_t total = 0;
      while (total < (1 << 20)) {
        auto n = decompressor->Step(&text, out);
        if (!n.ok() || *n == 0) break;
        Require(*n <= out.size());
        total += *n;
      }
      (void)decompressor->Finish();
      break;
    }
    default:
      if (text.size() <= 4096) Entries(text);
  }
  return 0;
}
