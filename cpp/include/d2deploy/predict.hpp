/// Image in, result out, whatever runs the model.
#pragma once

#include "d2deploy/boxes.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/postprocess.hpp"
#include "d2deploy/resize.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

/// What the network finds on an image. Raises Error.
inline Result predict(const Runner& runner, const ModelSpec& spec, const Image& image) {
  const Preprocess& rule = spec.preprocess;
  const Size original{image.height, image.width};
  const Image small = resize(image, resized_shape(original, rule));
  const Outputs outputs = runner(to_inputs(small, rule.is_rgb, rule.size_divisor));
  return to_result(outputs, spec, {{small.height, small.width}, original});
}

}  // namespace d2deploy
