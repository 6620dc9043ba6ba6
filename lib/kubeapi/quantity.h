// resource.Quantity of Kubernetes (apimachinery/pkg/api/resource): fixed-point numbers with SI and binary suffixes.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "json/json.h"

namespace vck::kubeapi {

// Exact to 10^-9; finer digits round away from zero. What is larger than 10^9 times int64 saturates.
class Quantity {
 public:
  Quantity() = default;
  static Quantity FromValue(int64_t value);
  static Quantity FromMilli(int64_t milli);
  // The forms that Kubernetes takes: "100m", "1Gi", "1e3", "0.5", "1.5Gi", "2E". InvalidArgument for others.
  static StatusOr<Quantity> Parse(std::string_view text);
  // As in JSON: a string, or a bare number.
  static StatusOr<Quantity> Parse(const json::Value& value);

  // In units or thousandths, rounded away from zero, saturating at int64.
  [[nodiscard]] int64_t Value() const;
  [[nodiscard]] int64_t MilliValue() const;
  [[nodiscard]] bool IsZero() const { return nano_ == 0; }

  Quantity& operator+=(Quantity other);
  Quantity& operator-=(Quantity other);
  friend Quantity operator+(Quantity a, Quantity b) { return a += b; }
  friend Quantity operator-(Quantity a, Quantity b) { return a -= b; }
  friend auto operator<=>(const Quantity&, const Quantity&) = default;

  // Decimal form with the largest suffix that keeps it an integer: "100m", "2", "1500M".
  [[nodiscard]] std::string ToString() const;
  // The same with binary suffixes, for memory: "1Gi". A fraction falls back to ToString().
  [[nodiscard]] std::string ToBinaryString() const;

 private:
  __extension__ using Int128 = __int128;
  explicit Quantity(Int128 nano) : nano_(nano) {}
  Int128 nano_ = 0;
};

}  // namespace vck::kubeapi
