#include "node/image_store.h"

#include "gtest/gtest.h"
#include "support/fake_http.h"
#include "support/loop.h"

namespace vck::node {
namespace {

using vimtypes::VmRecord;

// A vCenter that is not asked for anything.
class ImageStoreTest : public ::testing::Test {
 protected:
  void Put(const std::string& moid, const std::string& name, bool is_template = false, const std::string& key = "") {
    VmRecord vm;
    vm.vm = {.type = "VirtualMachine", .value = moid};
    vm.name = name;
    vm.is_template = is_template;
    vm.pod_key = key;
    inventory_.vms().Put(moid, std::make_shared<const VmRecord>(vm));
  }
  [[nodiscard]] bool Changed() {
    const uint64_t now = store_->changes();
    return std::exchange(seen_, now) != now;
  }

  vck::testing::Loop loop_;
  std::shared_ptr<vck::testing::FakeHttp> http_ = std::make_shared<vck::testing::FakeHttp>(
      loop_.clock(), [](const http::Request&) { return vck::testing::FakeReply{.status = 503}; });
  vsphere::Session session_{loop_.clock(), http_, {}};
  vsphere::Inventory inventory_{loop_.clock(), session_, {}};
  vsphere::Calls calls_{loop_.executor(), loop_.clock(), session_, inventory_, {}};
  Placement placement_;
  std::unique_ptr<VSphereImageStore> store_ =
      std::make_unique<VSphereImageStore>(loop_.clock(), calls_, placement_, "vch-1", nullptr);
  uint64_t seen_ = 0;
};

TEST_F(ImageStoreTest, OnlyWhatHappensToImagesIsAChange) {
  Put("vm-1", "default-web-0123456789ab", false, "v1 pod");
  Put("vm-2", "somebody-elses");
  EXPECT_FALSE(Changed());
  Put("vm-3", "image-0123");
  EXPECT_TRUE(Changed());
  Put("vm-3", "image-0123", true);
  EXPECT_TRUE(Changed()) << "it is complete now";
  Put("vm-1", "default-web-0123456789ab", true, "v1 pod");
  inventory_.vms().Erase("vm-1");
  EXPECT_FALSE(Changed());
  Put("vm-3", "renamed", true);
  EXPECT_TRUE(Changed());
  Put("vm-3", "renamed");
  EXPECT_FALSE(Changed());
  Put("vm-3", "image-0123", true);
  EXPECT_TRUE(Changed());
  inventory_.vms().Erase("vm-3");
  EXPECT_TRUE(Changed());
  store_.reset();  // the inventory lives on
  Put("vm-4", "image-4567");
  EXPECT_TRUE(http_->requests().empty());
}

}  // namespace
}  // namespace vck::node
