#include "image/merge.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "image/decompressor.h"
#include "image/merged_tree.h"
#include "image/squashfs_writer.h"
#include "image/tar_reader.h"
#include "oci/blob_file.h"

namespace vck::image {
namespace {

constexpr size_t kPiece = size_t{256} << 10;

class InputFile {
 public:
  static StatusOr<InputFile> Open(const std::string& path) {
    int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return absl::InternalError(absl::StrCat("open ", path, ": ", std::strerror(errno)));
    return InputFile(fd);
  }
  InputFile(InputFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  // Empty at the end.
  StatusOr<std::string_view> Read(std::string& buffer) {
    while (true) {
      ssize_t n = ::read(fd_, buffer.data(), buffer.size());
      if (n >= 0) return std::string_view(buffer).substr(0, static_cast<size_t>(n));
      if (errno != EINTR) return absl::InternalError(absl::StrCat("read: ", std::strerror(errno)));
    }
  }

 private:
  explicit InputFile(int fd) : fd_(fd) {}
  int fd_;
};

// Where a file's content is, in the order in which it will be met.
struct Source {
  uint32_t layer = 0, ordinal = 0;
  MergedTree::Index inode = 0;
};

class Merger {
 public:
  explicit Merger(const MergeRequest& request) : request_(request), tree_(request.memory_limit) {}

  StatusOr<MergeResult> Run() {
    for (size_t i = 0; i < request_.layers.size(); ++i) {
      Status status = Index(static_cast<uint32_t>(i));
      if (!status.ok()) return Annotate(status, absl::StrCat("layer ", i + 1, " of ", request_.layers.size()));
    }
    SquashfsOptions options{.level = request_.level, .threads = request_.threads};
    ASSIGN_OR_RETURN(writer_, SquashfsWriter::Create(request_.output, options));
    RETURN_IF_ERROR(Contents());
    MergeResult result;
    result.unpacked_bytes = unpacked_;
    result.files = static_cast<int64_t>(tree_.size());
    result.memory = tree_.memory();
    ASSIGN_OR_RETURN(result.bytes, Inodes());
    return result;
  }

 private:
  [[nodiscard]] bool Cancelled() const { return request_.cancelled != nullptr && request_.cancelled->load(); }

  // Unpacks a layer and gives its bytes to `take`, which returns false when it has seen enough.
  template <class Take>
  Status Unpack(uint32_t layer, bool check, Take take) {
    ASSIGN_OR_RETURN(InputFile file, InputFile::Open(request_.layers[layer].path));
    std::unique_ptr<Decompressor> decompressor;
    oci::Hasher hasher(request_.layers[layer].diff_id);
    std::string_view input;
    bool ended = false;
    while (true) {
      if (Cancelled()) return absl::CancelledError("the merge was cancelled");
      if (input.empty() && !ended) {
        ASSIGN_OR_RETURN(input, file.Read(input_));
        ended = input.empty();
        if (decompressor == nullptr) decompressor = Decompressor::For(input);
      }
      ASSIGN_OR_RETURN(size_t n, decompressor->Step(&input, std::span<char>(output_)));
      if (n == 0) {
        if (!ended) continue;
        break;
      }
      std::string_view piece = std::string_view(output_).substr(0, n);
      if (check) {
        hasher.Update(piece);
        unpacked_ += static_cast<int64_t>(n);
        RETURN_IF_ERROR(CheckSize());
      }
      ASSIGN_OR_RETURN(bool more, take(piece));
      if (!more) return absl::OkStatus();
    }
    RETURN_IF_ERROR(decompressor->Finish());
    if (!check) return absl::OkStatus();
    std::string digest = hasher.Finish();
    if (digest != request_.layers[layer].diff_id) {
      return absl::DataLossError(absl::StrCat("wrong diff id calculated on extraction: expected ",
                                              request_.layers[layer].diff_id, ", got ", digest));
    }
    return absl::OkStatus();
  }

  Status CheckSize() const {
    if (unpacked_ + holes_ <= request_.max_unpacked_bytes) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("the layers unpack to more than ", request_.max_unpacked_bytes, " bytes"));
  }

  // First pass: names only.
  Status Index(uint32_t layer) {
    tree_.BeginLayer();
    TarReader tar;
    uint32_t ordinal = 0;
    auto take = [&](std::string_view piece) -> StatusOr<bool> {
      while (true) {
        ASSIGN_OR_RETURN(TarReader::Event event, tar.Next(&piece));
        // What follows the archive's end counts for the digest all the same.
        if (event == TarReader::Event::kNeedMore || event == TarReader::Event::kEnd) return true;
        if (event == TarReader::Event::kZeros) {
          holes_ += tar.zeros();
          RETURN_IF_ERROR(CheckSize());
        }
        if (event != TarReader::Event::kEntry) continue;
        RETURN_IF_ERROR(tree_.Apply(tar.entry(), ordinal));
        if (++ordinal == UINT32_MAX) return absl::InvalidArgumentError("too many entries");
      }
    };
    RETURN_IF_ERROR(Unpack(layer, true, take));
    RETURN_IF_ERROR(tar.Finish());
    tree_.EndLayer();
    return absl::OkStatus();
  }

  // Second pass: the content of the files that are left.
  Status Contents() {
    file_of_.assign(tree_.inode_slots(), SquashfsWriter::kNoFile);
    config_file_ = writer_->BeginFile(request_.config.size());
    RETURN_IF_ERROR(writer_->Write(request_.config));
    RETURN_IF_ERROR(writer_->EndFile());
    std::vector<Source> sources;
    for (MergedTree::Index i = 0; i < tree_.inode_slots(); ++i) {
      const MergedTree::Inode& inode = tree_.inode(i);
      if (inode.links > 0 && inode.type == EntryType::kFile && inode.size > 0) {
        sources.push_back({inode.layer, inode.ordinal, i});
      }
    }
    std::ranges::sort(sources, [](const Source& a, const Source& b) {
      return std::pair(a.layer, a.ordinal) < std::pair(b.layer, b.ordinal);
    });
    for (size_t i = 0; i < sources.size();) {
      size_t end = i;
      while (end < sources.size() && sources[end].layer == sources[i].layer) ++end;
      RETURN_IF_ERROR(CopyLayer(std::span<const Source>(sources).subspan(i, end - i)));
      i = end;
    }
    return writer_->EndContent();
  }

  Status CopyLayer(std::span<const Source> sources) {
    TarReader tar;
    uint32_t ordinal = 0;
    bool wanted = false;
    auto take = [&](std::string_view piece) -> StatusOr<bool> {
      while (true) {
        ASSIGN_OR_RETURN(TarReader::Event event, tar.Next(&piece));
        switch (event) {
          case TarReader::Event::kNeedMore:
            return true;
          case TarReader::Event::kEnd:
            return false;
          case TarReader::Event::kEntry:
            if (wanted) {
              RETURN_IF_ERROR(writer_->EndFile());
              sources = sources.subspan(1);
              if (sources.empty()) return false;
            }
            wanted = sources.front().ordinal == ordinal++;
            if (wanted) file_of_[sources.front().inode] = writer_->BeginFile(tree_.inode(sources.front().inode).size);
            break;
          case TarReader::Event::kData:
            if (wanted) RETURN_IF_ERROR(writer_->Write(tar.data()));
            break;
          case TarReader::Event::kZeros:
            if (wanted) RETURN_IF_ERROR(writer_->WriteZeros(static_cast<uint64_t>(tar.zeros())));
            break;
        }
      }
    };
    RETURN_IF_ERROR(Unpack(sources.front().layer, false, take));
    if (wanted && !sources.empty()) {
      RETURN_IF_ERROR(writer_->EndFile());
      sources = sources.subspan(1);
    }
    if (!sources.empty()) return absl::InternalError("a layer has changed while it was read");
    return absl::OkStatus();
  }

  // Inode numbers: the image's root is 1, config.json 2, rootfs/ and all below it from 3 on, as they are in the tree.
  static constexpr uint32_t kTop = 1, kConfig = 2, kFirst = 3;

  StatusOr<int64_t> Inodes() {
    numbers_.assign(tree_.inode_slots(), 0);
    references_.assign(tree_.inode_slots(), 0);
    xattrs_.assign(tree_.xattr_set_count(), SquashfsWriter::kNoXattrs);
    uint32_t next = kFirst;
    for (MergedTree::Index i = 0; i < tree_.inode_slots(); ++i) {
      if (tree_.inode(i).links > 0) numbers_[i] = next++;
    }
    // Directories after all that is in them.
    MergedTree::Index at = MergedTree::kRoot;
    while (true) {
      MergedTree::Index child = FirstFolder(tree_.node(at).first_child);
      while (child != MergedTree::kNone) {
        at = child;
        child = FirstFolder(tree_.node(at).first_child);
      }
      while (true) {
        if (Cancelled()) return absl::CancelledError("the merge was cancelled");
        RETURN_IF_ERROR(WriteFolder(at));
        if (at == MergedTree::kRoot) return Top(next - 1);
        MergedTree::Index sibling = FirstFolder(tree_.node(at).next);
        if (sibling != MergedTree::kNone) {
          at = sibling;
          break;
        }
        at = tree_.node(at).parent;
      }
    }
  }

  [[nodiscard]] MergedTree::Index FirstFolder(MergedTree::Index node) const {
    while (node != MergedTree::kNone && tree_.inode(tree_.node(node).inode).type != EntryType::kDirectory) {
      node = tree_.node(node).next;
    }
    return node;
  }

  StatusOr<uint32_t> Xattrs(uint32_t set) {
    if (set == 0) return SquashfsWriter::kNoXattrs;
    if (xattrs_[set] == SquashfsWriter::kNoXattrs) {
      ASSIGN_OR_RETURN(xattrs_[set], writer_->AddXattrs(tree_.xattrs(set)));
    }
    return xattrs_[set];
  }

  StatusOr<SquashfsWriter::InodeInfo> Info(MergedTree::Index i) {
    const MergedTree::Inode& inode = tree_.inode(i);
    SquashfsWriter::InodeInfo info{.type = inode.type,
                                   .mode = inode.mode,
                                   .uid = inode.uid,
                                   .gid = inode.gid,
                                   .mtime = inode.mtime,
                                   .number = numbers_[i],
                                   .links = inode.links,
                                   .file = file_of_[i],
                                   .major = inode.major,
                                   .minor = inode.minor};
    if (inode.type == EntryType::kSymlink) info.target = tree_.text(inode.target);
    ASSIGN_OR_RETURN(info.xattrs, Xattrs(inode.xattrs));
    return info;
  }

  Status WriteFolder(MergedTree::Index folder) {
    entries_.clear();
    children_.clear();
    for (MergedTree::Index c = tree_.node(folder).first_child; c != MergedTree::kNone; c = tree_.node(c).next) {
      children_.push_back(c);
    }
    // In the order of their names, so that neighbours in the listing are neighbours in the table of inodes.
    std::ranges::sort(children_, [this](MergedTree::Index a, MergedTree::Index b) {
      return tree_.text(tree_.node(a).name) < tree_.text(tree_.node(b).name);
    });
    for (MergedTree::Index c : children_) {
      MergedTree::Index i = tree_.node(c).inode;
      const MergedTree::Inode& inode = tree_.inode(i);
      if (inode.type != EntryType::kDirectory && references_[i] == 0) {
        ASSIGN_OR_RETURN(SquashfsWriter::InodeInfo info, Info(i));
        ASSIGN_OR_RETURN(references_[i], writer_->AddInode(info));
        ++references_[i];  // 0 is a reference, too
      }
      entries_.push_back({.name = tree_.text(tree_.node(c).name),
                          .inode = references_[i] - 1,
                          .number = numbers_[i],
                          .type = inode.type});
    }
    MergedTree::Index i = tree_.node(folder).inode;
    ASSIGN_OR_RETURN(SquashfsWriter::InodeInfo info, Info(i));
    info.parent = folder == MergedTree::kRoot ? kTop : numbers_[tree_.node(tree_.node(folder).parent).inode];
    ASSIGN_OR_RETURN(references_[i], writer_->AddDirectory(info, entries_));
    ++references_[i];
    return absl::OkStatus();
  }

  // The image's own root: config.json and rootfs.
  StatusOr<int64_t> Top(uint32_t count) {
    SquashfsWriter::InodeInfo config{.type = EntryType::kFile, .mode = 0444, .number = kConfig, .file = config_file_};
    ASSIGN_OR_RETURN(uint64_t config_inode, writer_->AddInode(config));
    MergedTree::Index root = tree_.node(MergedTree::kRoot).inode;
    std::vector<SquashfsWriter::DirEntry> entries = {
        {.name = "config.json", .inode = config_inode, .number = kConfig, .type = EntryType::kFile},
        {.name = "rootfs", .inode = references_[root] - 1, .number = numbers_[root], .type = EntryType::kDirectory}};
    SquashfsWriter::InodeInfo top{.type = EntryType::kDirectory, .mode = 0755, .number = kTop, .parent = count + 1};
    ASSIGN_OR_RETURN(uint64_t top_inode, writer_->AddDirectory(top, entries));
    return writer_->Finish(top_inode, count, 0);
  }

  const MergeRequest& request_;
  MergedTree tree_;
  std::unique_ptr<SquashfsWriter> writer_;
  int64_t unpacked_ = 0;
  int64_t holes_ = 0;  // of sparse files, which are in no archive
  std::string input_ = std::string(kPiece, '\0');
  std::string output_ = std::string(kPiece, '\0');
  SquashfsWriter::FileId config_file_ = SquashfsWriter::kNoFile;
  // By the tree's inodes.
  std::vector<SquashfsWriter::FileId> file_of_;
  std::vector<uint32_t> numbers_;
  std::vector<uint64_t> references_;  // plus 1; 0: not written yet
  std::vector<uint32_t> xattrs_;      // by set
  std::vector<SquashfsWriter::DirEntry> entries_;
  std::vector<MergedTree::Index> children_;
};

}  // namespace

StatusOr<MergeResult> MergeLayers(const MergeRequest& request) { return Merger(request).Run(); }

}  // namespace vck::image
