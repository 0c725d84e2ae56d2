/// What a network takes, of one image.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/error.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/pixels.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

/// An image, and the same after resizing (empty where the network does that).
struct Pictures {
  const Image& original;
  const Image& small;
};

namespace inputs {

/// float32 [1,3,H,W], 0..255, zero-padded at the right and bottom to multiples of the divisor.
inline Tensor images(const ModelSpec& spec, const Pictures& pictures) {
  const Image& image = pictures.small;
  const std::int64_t divisor = std::max<std::int64_t>(spec.preprocess.size_divisor, 1);
  const auto up = [&](std::int64_t edge) { return (edge + divisor - 1) / divisor * divisor; };
  const std::int64_t height = up(image.height), width = up(image.width);
  std::vector<float> planes(3 * height * width);
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < image.height; ++y) {
      float* row = &planes[(c * height + y) * width];
      const std::uint8_t* in = image.at(y, 0) + (spec.preprocess.is_rgb ? 2 - c : c);
      for (int x = 0; x < image.width; ++x) row[x] = in[3 * x];
    }
  return to_tensor<float>({1, 3, height, width}, std::move(planes));
}

/// int64 [1,2], (height, width).
inline Tensor size(const Image& image) { return to_tensor<std::int64_t>({1, 2}, {image.height, image.width}); }

inline Tensor image_sizes(const ModelSpec&, const Pictures& pictures) { return size(pictures.small); }

inline Tensor original_sizes(const ModelSpec&, const Pictures& pictures) { return size(pictures.original); }

/// uint8 [H,W,3].
inline Tensor image(const ModelSpec& spec, const Pictures& pictures) {
  std::vector<std::uint8_t> pixels = pictures.original.pixels;
  for (std::size_t i = 0; spec.preprocess.is_rgb && i < pixels.size(); i += 3) std::swap(pixels[i], pixels[i + 2]);
  return to_tensor<std::uint8_t>({pictures.original.height, pictures.original.width, 3}, std::move(pixels));
}

inline Tensor score_threshold(const ModelSpec& spec, const Pictures&) {
  return to_tensor<float>({}, {spec.thresholds->score});
}

inline Tensor nms_threshold(const ModelSpec& spec, const Pictures&) {
  return to_tensor<float>({}, {spec.thresholds->nms});
}

using Maker = Tensor (*)(const ModelSpec&, const Pictures&);

/// Input -> what makes it.
inline const std::map<std::string, Maker>& table() {
  static const std::map<std::string, Maker> makers{
      {"images", images}, {"image_sizes", image_sizes},         {"original_sizes", original_sizes},
      {"image", image},   {"score_threshold", score_threshold}, {"nms_threshold", nms_threshold}};
  return makers;
}

}  // namespace inputs

/// Raises Error when the model takes something that cannot be made of an image.
inline void check_inputs(const ModelSpec& spec) {
  for (const TensorSpec& tensor : spec.inputs) {
    const bool is_threshold = tensor.name == "score_threshold" || tensor.name == "nms_threshold";
    if (inputs::table().count(tensor.name) == 0 || (is_threshold && !spec.thresholds))
      throw Error("The model (" + spec.meta_architecture + ") takes " + tensor.name +
                  ", which this program cannot make of an image. Run it from Python.");
  }
}

/// The model's inputs, in the manifest's order. `spec` has passed check_inputs.
inline std::vector<Tensor> to_inputs(const ModelSpec& spec, const Pictures& pictures) {
  std::vector<Tensor> made;
  for (const TensorSpec& tensor : spec.inputs) made.push_back(inputs::table().at(tensor.name)(spec, pictures));
  return made;
}

}  // namespace d2deploy
