/// What a model found on one image, in pixels of the original. The same names as in src/d2deploy/results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "d2deploy/resize.hpp"

namespace d2deploy {

/// A region of an image; only the part that can hold pixels is kept.
struct Mask {
  int top = 0, left = 0, height = 0, width = 0;  // of the part
  std::vector<std::uint8_t> pixels;              // [height, width], 0 or 1

  Mask() = default;
  Mask(int top, int left, int height, int width)
      : top(top), left(left), height(height), width(width), pixels(std::size_t(height) * width) {}

  std::uint8_t* row(int y) { return pixels.data() + std::size_t(y) * width; }
  const std::uint8_t* row(int y) const { return const_cast<Mask*>(this)->row(y); }

  std::int64_t area() const {
    std::int64_t count = 0;
    for (const std::uint8_t pixel : pixels) count += pixel;
    return count;
  }
};

struct Keypoint {
  float x, y, score;
};

/// A number for each pixel of an image: a class, or a segment; or of a part of one.
struct Labels {
  Size size;
  std::vector<std::int32_t> values;  // [height, width]

  explicit Labels(Size size, std::int32_t value = 0)
      : size(size), values(std::size_t(size.height) * size.width, value) {}

  std::int32_t* row(int y) { return values.data() + std::size_t(y) * size.width; }
  const std::int32_t* row(int y) const { return const_cast<Labels*>(this)->row(y); }
};

/// A body part for each pixel, and a place on it.
struct DensePoseChart {
  int x, y;                                               // of the left column and the top row
  Labels labels;                                          // 1..24 a part of the surface, 0 none
  std::vector<float> u, v;                                // of each pixel, mostly 0..1; 0 where there is none
  std::map<std::string, std::vector<float>> confidences;  // name, such as sigma_2 -> of each pixel
};

/// The vertex of a mesh that each pixel is nearest to, as embeddings.
struct DensePoseVertices {
  int x, y;          // of the left column and the top row
  Labels vertices;   // -1 where no body is; without a mesh 0 where one is
  std::string mesh;  // its name, such as smpl_27554; "": the model has none for the class
};

/// Where on a body's surface the pixels of a detection lie.
using DensePose = std::variant<DensePoseChart, DensePoseVertices>;

/// One detection; x1 y1 x2 y2, of rotated models center x, y, width, height, degrees.
struct Instance {
  std::vector<float> box;
  float score;
  std::int64_t class_id;
  std::optional<Mask> mask;
  std::optional<std::vector<Keypoint>> keypoints;
  std::optional<DensePose> dense_pose;
};

/// Detections, best first.
using Instances = std::vector<Instance>;

struct Proposal {
  std::vector<float> box;
  float objectness_logit;
};

/// Where objects may be, best first.
using Proposals = std::vector<Proposal>;

/// The class of each pixel.
struct Semantic {
  Labels labels;
};

/// One region of a panoptic picture.
struct Segment {
  std::int32_t id;  // its value in panoptic_seg
  bool is_thing;
  std::int64_t category_id;
  std::optional<float> score;               // of a thing that is a detection
  std::optional<std::int64_t> instance_id;  // the row of that detection
};

/// Every pixel as part of one region.
struct Panoptic {
  Labels panoptic_seg;
  std::vector<Segment> segments;
  std::optional<Instances> instances;  // none: the model has no detector
};

using Result = std::variant<Instances, Proposals, Semantic, Panoptic>;

}  // namespace d2deploy
