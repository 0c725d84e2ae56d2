/// Image in, result out, whatever runs the model.
#pragma once

#include <cstdint>
#include <utility>

#include "d2deploy/boxes.hpp"
#include "d2deploy/inputs.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/postprocess.hpp"
#include "d2deploy/resize.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

/// What the network finds on an image. `spec` has passed check_spec. Raises Error.
inline Result predict(const Runner& runner, const ModelSpec& spec, const Image& image) {
  const Size original{image.height, image.width};
  const Image small = spec.includes_preprocess ? Image() : resize(image, resized_shape(original, spec.preprocess));
  Outputs outputs = runner(to_inputs(spec, {image, small}));
  Frame frame{{small.height, small.width}, original};
  if (spec.includes_preprocess && !spec.includes_postprocess) {
    const std::int64_t* size = outputs.get<std::int64_t>("image_sizes", 2);
    outputs.check("image_sizes", outputs.shape("image_sizes") == Shape{1, 2} && size[0] > 0 && size[1] > 0);
    frame.input_size = {static_cast<int>(size[0]), static_cast<int>(size[1])};
  }
  return to_result(std::move(outputs), spec, frame);
}

}  // namespace d2deploy
