/// What goes into a network and comes out of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/error.hpp"

namespace d2deploy {

using Shape = std::vector<std::int64_t>;

enum class DType { float32, int64, int32, uint8, boolean, other };

template <typename T>
constexpr DType DTYPE_OF = DType::other;
template <>
constexpr DType DTYPE_OF<float> = DType::float32;
template <>
constexpr DType DTYPE_OF<std::int64_t> = DType::int64;
template <>
constexpr DType DTYPE_OF<std::int32_t> = DType::int32;
template <>
constexpr DType DTYPE_OF<std::uint8_t> = DType::uint8;
template <>
constexpr DType DTYPE_OF<bool> = DType::boolean;

inline std::string to_text(const Shape& shape) {
  std::string text;
  for (const std::int64_t edge : shape) text += (text.empty() ? "" : ", ") + std::to_string(edge);
  return "[" + text + "]";
}

/// Numbers in row-major order; who made them lives as long as `data` does.
struct Tensor {
  DType dtype = DType::other;
  Shape shape;
  std::shared_ptr<const void> data;

  std::size_t bytes() const {
    const auto size = dtype == DType::int64 ? 8 : dtype == DType::float32 || dtype == DType::int32 ? 4 : 1;
    return std::accumulate(shape.begin(), shape.end(), std::size_t(size), std::multiplies<>());
  }
};

/// A tensor that owns its numbers.
template <typename T>
Tensor to_tensor(Shape shape, std::vector<T> numbers) {
  auto owner = std::make_shared<const std::vector<T>>(std::move(numbers));
  return {DTYPE_OF<T>, std::move(shape), std::shared_ptr<const void>(owner, owner->data())};
}

/// A network's outputs by name, checked when they are taken out.
class Outputs {
 public:
  void add(const std::string& name, Tensor tensor) { tensors_[name] = std::move(tensor); }
  bool has(const std::string& name) const { return tensors_.count(name) > 0; }

  /// The numbers of an output. Raises Error when it has others, or other axes.
  template <typename T>
  const T* get(const std::string& name, std::size_t rank) const {
    const Tensor& tensor = found(name);
    check(name, tensor.shape.size() == rank && tensor.dtype == DTYPE_OF<T>);
    return static_cast<const T*>(tensor.data.get());
  }
  const Shape& shape(const std::string& name) const { return found(name).shape; }

  /// Raises Error when an output is not as it must be.
  void check(const std::string& name, bool is_right) const {
    if (!is_right) refuse(name);
  }

  /// Raises Error when the outputs do not have the same number of rows.
  void check_rows(const std::vector<std::string>& names) const {
    for (const std::string& name : names) check(name, !shape(name).empty() && shape(name)[0] == shape(names[0])[0]);
  }

  /// From rows [1,K,...], of which `count` are there, to rows [count,...]; of those of `names` that there are.
  void cut_rows(std::int64_t count, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (!has(name)) continue;
      Shape& shape = tensors_[name].shape;
      check(name, shape.size() > 1 && shape[0] == 1 && count >= 0 && count <= shape[1]);
      shape.erase(shape.begin());
      shape[0] = count;
    }
  }

 private:
  const Tensor& found(const std::string& name) const {
    const auto place = tensors_.find(name);
    if (place == tensors_.end()) throw Error("The model gave no output " + name + ". Export again.");
    return place->second;
  }

  [[noreturn]] void refuse(const std::string& name) const {
    throw Error("The model gave the output " + name + " " + to_text(found(name).shape) +
                " with a shape or type that its manifest does not promise. Export again.");
  }

  std::map<std::string, Tensor> tensors_;
};

/// Runs a network: its inputs, in the manifest's order, to its outputs.
using Runner = std::function<Outputs(const std::vector<Tensor>&)>;

}  // namespace d2deploy
