/// What goes into a network and comes out of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "d2deploy/error.hpp"
#include "d2deploy/pixels.hpp"

namespace d2deploy {

using Shape = std::vector<std::int64_t>;

enum class DType { float32, int64, other };

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

  std::size_t size() const {
    return std::size_t(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
  }
};

/// A tensor that owns its numbers.
template <typename T>
Tensor to_tensor(DType dtype, Shape shape, std::vector<T> numbers) {
  auto owner = std::make_shared<const std::vector<T>>(std::move(numbers));
  return {dtype, std::move(shape), std::shared_ptr<const void>(owner, owner->data())};
}

/// A network's outputs by name, checked when they are taken out.
class Outputs {
 public:
  void add(const std::string& name, Tensor tensor) { tensors_[name] = std::move(tensor); }
  bool has(const std::string& name) const { return tensors_.count(name) > 0; }

  const float* floats(const std::string& name, std::size_t rank) const {
    return static_cast<const float*>(checked(name, rank, DType::float32).data.get());
  }
  const std::int64_t* integers(const std::string& name, std::size_t rank) const {
    return static_cast<const std::int64_t*>(checked(name, rank, DType::int64).data.get());
  }
  const Shape& shape(const std::string& name) const { return found(name).shape; }

  /// Raises Error when an output is not as it must be.
  void check(const std::string& name, bool is_right) const {
    if (!is_right) refuse(name);
  }

  /// Raises Error when the outputs do not have the same number of rows.
  void check_rows(const std::vector<std::string>& names) const {
    for (const std::string& name : names)
      if (!has(name) || shape(name).empty() || shape(name)[0] != shape(names[0])[0]) refuse(name);
  }

 private:
  const Tensor& found(const std::string& name) const {
    const auto place = tensors_.find(name);
    if (place == tensors_.end()) throw Error("The model gave no output " + name + ". Export again.");
    return place->second;
  }

  const Tensor& checked(const std::string& name, std::size_t rank, DType dtype) const {
    const Tensor& tensor = found(name);
    if (tensor.shape.size() != rank || tensor.dtype != dtype) refuse(name);
    return tensor;
  }

  [[noreturn]] void refuse(const std::string& name) const {
    throw Error("The model gave the output " + name + " " + to_text(found(name).shape) +
                " with a shape or type that its manifest does not promise. Export again.");
  }

  std::map<std::string, Tensor> tensors_;
};

/// Runs a network: its inputs, in the manifest's order, to its outputs.
using Runner = std::function<Outputs(const std::vector<Tensor>&)>;

/// A resized BGR image as the network's two inputs: images float32 [1,3,H,W], 0..255, zero-padded at the right and bottom
/// to multiples of the divisor; image_sizes int64 [1,2], (height, width) before padding.
inline std::vector<Tensor> to_inputs(const Image& image, bool is_rgb, std::int64_t divisor) {
  const auto up = [&](std::int64_t edge) { return divisor > 1 ? (edge + divisor - 1) / divisor * divisor : edge; };
  const std::int64_t height = up(image.height), width = up(image.width);
  std::vector<float> planes(3 * height * width);
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < image.height; ++y) {
      float* row = &planes[(c * height + y) * width];
      const std::uint8_t* in = image.at(y, 0) + (is_rgb ? 2 - c : c);
      for (int x = 0; x < image.width; ++x) row[x] = in[3 * x];
    }
  std::vector<std::int64_t> sizes{image.height, image.width};
  return {to_tensor(DType::float32, {1, 3, height, width}, std::move(planes)),
          to_tensor(DType::int64, {1, 2}, std::move(sizes))};
}

}  // namespace d2deploy
