/// Results from outputs that lie on the original image already: of a graph that holds the post-processing itself. The
/// rules of src/d2deploy/postprocess/finished.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/result.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

namespace finished {

inline std::vector<float> box(const Outputs& outputs, const std::string& name, std::int64_t row) {
  const std::int64_t length = outputs.shape(name)[1];
  const float* first = outputs.get<float>(name, 2) + row * length;
  outputs.check(name, length == 4 || length == 5);
  return {first, first + length};
}

/// Row `row` of masks [D,H,W].
inline Mask mask(const Outputs& outputs, std::int64_t row, Size image) {
  const bool* pixels = outputs.get<bool>("masks", 3);
  outputs.check("masks", outputs.shape("masks")[1] == image.height && outputs.shape("masks")[2] == image.width);
  Mask made(0, 0, image.height, image.width);
  std::copy_n(pixels + row * image.height * image.width, made.pixels.size(), made.pixels.begin());
  return made;
}

/// Row `row` of keypoints [D,K,3].
inline std::vector<Keypoint> keypoints(const Outputs& outputs, std::int64_t row) {
  const float* numbers = outputs.get<float>("keypoints", 3);
  const std::int64_t count = outputs.shape("keypoints")[1];
  outputs.check("keypoints", outputs.shape("keypoints")[2] == 3);
  std::vector<Keypoint> made;
  for (const float* point = numbers + row * count * 3; point < numbers + (row + 1) * count * 3; point += 3)
    made.push_back({point[0], point[1], point[2]});
  return made;
}

/// A number for each pixel, from [1,H,W].
template <typename T>
Labels labels(const Outputs& outputs, const std::string& name, Size image) {
  const T* numbers = outputs.get<T>(name, 3);
  outputs.check(name, outputs.shape(name) == Shape{1, image.height, image.width});
  Labels made(image);
  for (std::int32_t& label : made.values) label = static_cast<std::int32_t>(*numbers++);
  return made;
}

/// Rows of segments [S,6]: image, id, whether it is a thing, category, row of the detection, pixels.
inline std::vector<Segment> segments(const Outputs& outputs, const Instances& instances) {
  const std::int64_t* row = outputs.get<std::int64_t>("segments", 2);
  outputs.check("segments", outputs.shape("segments")[1] == 6);
  std::vector<Segment> made;
  for (std::int64_t i = 0; i < outputs.shape("segments")[0]; ++i, row += 6) {
    made.push_back({static_cast<std::int32_t>(row[1]), row[2] != 0, row[3], {}, {}});
    if (row[2] == 0) continue;
    outputs.check("segments", row[4] >= 0 && row[4] < static_cast<std::int64_t>(instances.size()));
    made.back().score = instances[row[4]].score;
    made.back().instance_id = row[4];
  }
  return made;
}

}  // namespace finished

inline Instances finished_instances(const Outputs& outputs, Size image) {
  outputs.check_rows({"boxes", "scores", "classes"});
  const bool has_masks = outputs.has("masks"), has_keypoints = outputs.has("keypoints");
  if (has_masks) outputs.check_rows({"boxes", "masks"});
  if (has_keypoints) outputs.check_rows({"boxes", "keypoints"});
  const float* scores = outputs.get<float>("scores", 1);
  const std::int64_t* classes = outputs.get<std::int64_t>("classes", 1);
  Instances found;
  for (std::int64_t row = 0; row < outputs.shape("boxes")[0]; ++row) {
    found.push_back({finished::box(outputs, "boxes", row), scores[row], classes[row], {}, {}, {}});
    if (has_masks) found.back().mask = finished::mask(outputs, row, image);
    if (has_keypoints) found.back().keypoints = finished::keypoints(outputs, row);
  }
  return found;
}

inline Proposals finished_proposals(const Outputs& outputs) {
  outputs.check_rows({"proposal_boxes", "objectness_logits"});
  const float* logits = outputs.get<float>("objectness_logits", 1);
  Proposals found;
  for (std::int64_t row = 0; row < outputs.shape("proposal_boxes")[0]; ++row)
    found.push_back({finished::box(outputs, "proposal_boxes", row), logits[row]});
  return found;
}

inline Semantic finished_semantic(const Outputs& outputs, Size image) {
  return {finished::labels<std::int64_t>(outputs, "labels", image)};
}

inline Panoptic finished_panoptic(const Outputs& outputs, Size image) {
  Instances instances = finished_instances(outputs, image);
  auto segments = finished::segments(outputs, instances);
  return {finished::labels<std::int32_t>(outputs, "panoptic_seg", image), std::move(segments), std::move(instances)};
}

}  // namespace d2deploy
