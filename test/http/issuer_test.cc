#include "http/issuer.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/net.h"

namespace vck::http {
namespace {

using ::testing::HasSubstr;
using testing::Net;
using testing::Pki;

using CertPtr = std::unique_ptr<X509, decltype(&X509_free)>;

CertPtr Parse(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  CertPtr out(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free);
  BIO_free(bio);
  return out;
}

// DER SubjectPublicKeyInfo of a certificate.
std::string KeyOf(const std::string& pem) {
  CertPtr cert = Parse(pem);
  unsigned char* der = nullptr;
  int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert.get()), &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

std::string Printed(X509* cert, unsigned long leave_out) {
  BIO* bio = BIO_new(BIO_s_mem());
  X509_print_ex(bio, cert, XN_FLAG_COMPAT, leave_out);
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

// Without its identifier, which is another hash of the same key.
std::string Extensions(X509* cert) {
  std::string out;
  for (int i = 0; i < X509_get_ext_count(cert); ++i) {
    X509_EXTENSION* extension = X509_get_ext(cert, i);
    int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    if (nid == NID_subject_key_identifier) continue;
    BIO* bio = BIO_new(BIO_s_mem());
    X509V3_EXT_print(bio, extension, X509V3_EXT_ERROR_UNKNOWN, 0);
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    absl::StrAppend(&out, OBJ_nid2sn(nid), X509_EXTENSION_get_critical(extension) == 1 ? " critical: " : ": ",
                    std::string_view(data, static_cast<size_t>(size)), "\n");
    BIO_free(bio);
  }
  return out;
}

class IssuerTest : public ::testing::Test {
 protected:
  IssuerTest() {
    request_.common_name = "0b0e5a0c-1111-4222-8333-000000000001";
    request_.dns_names = {"tether.vch"};
    request_.uris = {"vch:pod:0b0e5a0c", "vch:pod:a,b"};
    request_.now = absl::FromUnixSeconds(1'800'000'000);
    request_.lifetime = absl::Hours(24 * 365 * 20);
  }
  std::string Issue() { return issuer_->Issue(KeyOf(pki_.client_cert), request_).value(); }

  const Pki& pki_ = Pki::Get();
  std::unique_ptr<CertificateIssuer> issuer_ = CertificateIssuer::Create(pki_.ca_cert, pki_.ca_key).value();
  CertRequest request_;
};

TEST_F(IssuerTest, MakesWhatOpenSslWouldMake) {
  // Twenty years from 2027 end before 2050, from 2032 after.
  for (int64_t now : {int64_t{1'800'000'000}, int64_t{1'960'000'000}}) {
    request_.now = absl::FromUnixSeconds(now);
    CertPtr ours = Parse(Issue());
    CertPtr theirs = Parse(SignCertificate(pki_.client_key, request_, pki_.ca_cert, pki_.ca_key).value());
    ASSERT_NE(ours, nullptr);
    constexpr unsigned long kRandom = X509_FLAG_NO_SERIAL | X509_FLAG_NO_SIGDUMP | X509_FLAG_NO_EXTENSIONS;
    EXPECT_EQ(Printed(ours.get(), kRandom), Printed(theirs.get(), kRandom));
    EXPECT_EQ(Extensions(ours.get()), Extensions(theirs.get()));
    EXPECT_EQ(ASN1_STRING_length(X509_get0_subject_key_id(ours.get())), 20);
    // As it was decoded and as it is encoded anew: no byte is there that DER would write otherwise.
    unsigned char* der = nullptr;
    int size = i2d_re_X509_tbs(ours.get(), &der);
    OPENSSL_free(der);
    EXPECT_GT(size, 0);
    CertPtr ca = Parse(pki_.ca_cert);
    EXPECT_EQ(X509_verify(ours.get(), X509_get0_pubkey(ca.get())), 1) << "of what was encoded anew";
    EXPECT_EQ(X509_check_issued(ca.get(), ours.get()), X509_V_OK);
    EXPECT_EQ(X509_check_host(ours.get(), "tether.vch", 0, 0, nullptr), 1);
  }
}

TEST_F(IssuerTest, NoTwoHaveOneSerialNumber) {
  CertPtr one = Parse(Issue());
  CertPtr other = Parse(Issue());
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber(one.get()), X509_get0_serialNumber(other.get())), 0);
  for (const CertPtr& cert : {std::cref(one), std::cref(other)}) {
    EXPECT_EQ(ASN1_STRING_type(X509_get0_serialNumber(cert.get())), V_ASN1_INTEGER) << "not negative";
    EXPECT_EQ(ASN1_STRING_length(X509_get0_serialNumber(cert.get())), 16);
  }
}

TEST_F(IssuerTest, BothEndsOfTlsTakeIt) {
  Net net;
  request_.now = absl::Now();
  request_.dns_names = {"server.test"};
  std::string server_cert = issuer_->Issue(KeyOf(pki_.server_cert), request_).value();
  std::string client_cert = Issue();
  TlsServerOptions server{.cert_pem = server_cert, .key_pem = pki_.server_key, .client_ca_pem = pki_.ca_cert};
  server.require_client_cert = true;
  auto& listener = net.Serve({.tls = TlsContext::Server(server).value()}, [](Exchange& exchange) -> Task<Status> {
    co_return co_await exchange.Respond({200, {{"X-Uri", exchange.stream().Peer().uris[1]}}, ""});
  });
  TlsOptions client{.server_name = "server.test", .client_cert_pem = client_cert, .client_key_pem = pki_.client_key};
  auto stream = net.Run(Dial(net.clock(), "127.0.0.1", listener.port(), pki_.Client(client), {}));
  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_EQ(PeerPublicKey(**stream), KeyOf(pki_.server_cert));
  auto connection = net.NewClient(
      {.origin = {.scheme = "https", .host = "127.0.0.1", .port = listener.port()}, .tls = pki_.Client(client)});
  auto response = net.Run(connection->Do({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->headers.Get("X-Uri"), "vch:pod:a,b");
}

TEST_F(IssuerTest, WhatItCannotDoIsAnError) {
  auto refused = [&](auto change) {
    CertRequest request = request_;
    change(&request);
    return absl::IsInvalidArgument(issuer_->Issue(KeyOf(pki_.client_cert), request).status());
  };
  EXPECT_FALSE(refused([](CertRequest*) {}));
  EXPECT_TRUE(refused([](CertRequest* r) { r->is_ca = true; }));
  EXPECT_TRUE(refused([](CertRequest* r) { r->ip_addresses = {"10.0.0.1"}; }));
  EXPECT_TRUE(refused([](CertRequest* r) { r->organizations = {"system:nodes"}; }));
  EXPECT_TRUE(refused([](CertRequest* r) { r->common_name = ""; }));
  EXPECT_TRUE(refused([](CertRequest* r) { r->common_name = std::string(65, 'x'); }));
  EXPECT_TRUE(refused([](CertRequest* r) { r->uris = {std::string(5000, 'x')}; }));
  EXPECT_TRUE(absl::IsInvalidArgument(issuer_->Issue("", request_).status()));
  EXPECT_THAT(CertificateIssuer::Create(pki_.ca_cert, pki_.server_key).status().message(),
              HasSubstr("does not belong"));
  EXPECT_FALSE(CertificateIssuer::Create("x", pki_.ca_key).ok());
  EXPECT_FALSE(CertificateIssuer::Create(pki_.ca_cert, "x").ok());
}

}  // namespace
}  // namespace vck::http
