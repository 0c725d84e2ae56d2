/// Boxes from network-input pixels to those of the original image: scaled, then clipped, then without the empty ones.
/// The rules of src/d2deploy/postprocess/boxes.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "d2deploy/resize.hpp"

namespace d2deploy {

/// How one image was resized.
struct Frame {
  Size input_size;  // as the network saw it, before padding
  Size image_size;  // of the original

  float scale_x() const { return static_cast<float>(static_cast<double>(image_size.width) / input_size.width); }
  float scale_y() const { return static_cast<float>(static_cast<double>(image_size.height) / input_size.height); }
};

namespace boxes {

constexpr float UPRIGHT = 1;  // degrees; rotated boxes that are turned more are not clipped
constexpr double PI = 3.14159265358979323846;

inline std::vector<float> rescale_upright(const float* box, const Frame& frame) {
  const float x = frame.scale_x(), y = frame.scale_y();
  const auto width = static_cast<float>(frame.image_size.width), height = static_cast<float>(frame.image_size.height);
  // Not std::clamp: what is no number must stay none.
  const auto clip = [](float value, float high) { return value < 0 ? 0 : value > high ? high : value; };
  return {clip(box[0] * x, width), clip(box[1] * y, height), clip(box[2] * x, width), clip(box[3] * y, height)};
}

/// Both sides are scaled along their own direction, and the angle is that of the scaled height.
inline std::vector<float> scale_rotated(const float* box, const Frame& frame) {
  const float x = frame.scale_x(), y = frame.scale_y();
  const float turn = box[4] * static_cast<float>(PI / 180);
  const float cosine = std::cos(turn), sine = std::sin(turn);
  return {box[0] * x, box[1] * y, box[2] * std::hypot(x * cosine, y * sine), box[3] * std::hypot(x * sine, y * cosine),
          std::atan2(x * sine, y * cosine) * static_cast<float>(180 / PI)};
}

/// Angles to [-180, 180); boxes within a degree of upright are clipped as if they were.
inline std::vector<float> clip_rotated(std::vector<float> box, Size image) {
  const float turned = std::fmod(box[4] + 180, 360.0F);
  box[4] = (turned < 0 ? turned + 360 : turned) - 180;
  if (!(std::abs(box[4]) <= UPRIGHT)) return box;
  for (const int axis : {0, 1}) {
    const auto edge = static_cast<float>(axis == 0 ? image.width : image.height);
    const float low = std::clamp(box[axis] - box[axis + 2] / 2, 0.0F, edge);
    const float high = std::clamp(box[axis] + box[axis + 2] / 2, 0.0F, edge);
    box[axis] = (low + high) / 2;
    box[axis + 2] = std::min(box[axis + 2], high - low);
  }
  return box;
}

}  // namespace boxes

/// A box of `length` 4 (x1 y1 x2 y2) or 5 numbers (center, size, degrees) on the original image; none: it has no area.
inline std::optional<std::vector<float>> rescale_box(const float* box, std::int64_t length, const Frame& frame) {
  if (length == 5) {
    auto rotated = boxes::clip_rotated(boxes::scale_rotated(box, frame), frame.image_size);
    return rotated[2] > 0 && rotated[3] > 0 ? std::optional(std::move(rotated)) : std::nullopt;
  }
  auto upright = boxes::rescale_upright(box, frame);
  return upright[2] > upright[0] && upright[3] > upright[1] ? std::optional(std::move(upright)) : std::nullopt;
}

}  // namespace d2deploy
