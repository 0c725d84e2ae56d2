/// Which result a network's outputs make, and the result: the table of src/d2deploy/postprocess/kinds.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/boxes.hpp"
#include "d2deploy/keypoints.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/maps.hpp"
#include "d2deploy/masks.hpp"
#include "d2deploy/panoptic.hpp"
#include "d2deploy/panoptic_deeplab.hpp"
#include "d2deploy/result.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

namespace kinds {

inline std::vector<Keypoint> keypoints_on_image(const Outputs& outputs, std::int64_t row, const float* box,
                                                const Frame& frame) {
  const auto& shape = outputs.shape("keypoint_heatmaps");
  const auto count = static_cast<int>(shape[1]), side = static_cast<int>(shape[2]);
  const float* maps = outputs.floats("keypoint_heatmaps", 4) + row * count * side * side;
  auto points = find_keypoints(maps, count, side, box);
  for (Keypoint& point : points) {
    point.x *= frame.scale_x();
    point.y *= frame.scale_y();
  }
  return points;
}

inline Instances instances(const Outputs& outputs, const Frame& frame) {
  outputs.check_rows({"boxes", "scores", "classes"});
  const bool has_masks = outputs.has("mask_probs"), has_keypoints = outputs.has("keypoint_heatmaps");
  if (has_masks) outputs.check_rows({"boxes", "mask_probs"});
  if (has_keypoints) outputs.check_rows({"boxes", "keypoint_heatmaps"});
  const float *boxes = outputs.floats("boxes", 2), *scores = outputs.floats("scores", 1);
  const std::int64_t* classes = outputs.integers("classes", 1);
  const float* probs = has_masks ? outputs.floats("mask_probs", 3) : nullptr;
  const auto side = has_masks ? static_cast<int>(outputs.shape("mask_probs")[1]) : 0;
  const std::int64_t length = outputs.shape("boxes")[1];
  Instances found;
  for (std::int64_t row = 0; row < outputs.shape("boxes")[0]; ++row) {
    const float* box = boxes + row * length;
    auto rescaled = rescale_box(box, length, frame);
    if (!rescaled) continue;
    Instance instance{*rescaled, scores[row], classes[row], {}, {}};
    if (has_masks) instance.mask = paste_mask(probs + row * side * side, side, *rescaled, frame.image_size);
    if (has_keypoints) instance.keypoints = keypoints_on_image(outputs, row, box, frame);
    found.push_back(std::move(instance));
  }
  return found;
}

inline Proposals proposals(const Outputs& outputs, const Frame& frame) {
  outputs.check_rows({"proposal_boxes", "objectness_logits"});
  const float *boxes = outputs.floats("proposal_boxes", 2), *logits = outputs.floats("objectness_logits", 1);
  const std::int64_t length = outputs.shape("proposal_boxes")[1];
  Proposals found;
  for (std::int64_t row = 0; row < outputs.shape("proposal_boxes")[0]; ++row)
    if (auto box = rescale_box(boxes + row * length, length, frame)) found.push_back({std::move(*box), logits[row]});
  return found;
}

/// An output [1, count, H, W] at the padded size of the network's input, without the padding.
inline Maps maps(const Outputs& outputs, const std::string& name, const Frame& frame) {
  const float* data = outputs.floats(name, 4);
  const auto& shape = outputs.shape(name);
  const Size padded{static_cast<int>(shape[2]), static_cast<int>(shape[3])};
  if (padded.height < frame.input_size.height || padded.width < frame.input_size.width || shape[1] < 1)
    throw Error("The model gave the output " + name + " " + to_text(shape) + ", smaller than its input. Export again.");
  return {data, static_cast<int>(shape[1]), frame.input_size, padded};
}

inline Result make_instances(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return instances(outputs, frame);
}

inline Result make_proposals(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return proposals(outputs, frame);
}

inline Result make_semantic(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return Semantic{find_labels(maps(outputs, "sem_seg", frame), frame.image_size)};
}

inline Result make_panoptic(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  const auto labels = find_labels(maps(outputs, "sem_seg", frame), frame.image_size);
  return merge(instances(outputs, frame), labels, *spec.panoptic);
}

inline Result make_panoptic_deeplab(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  const Maps sem_seg = maps(outputs, "sem_seg", frame), center = maps(outputs, "center", frame);
  return PanopticDeepLab(sem_seg, center, maps(outputs, "offset", frame), frame.image_size, *spec.panoptic_deeplab)
      .result();
}

/// One kind of network, by what comes out of it.
struct Kind {
  std::vector<std::string> outputs;    // that must be there
  bool (*has_rule)(const ModelSpec&);  // what else must be
  Result (*make)(const Outputs&, const ModelSpec&, const Frame&);
};

/// Read from the top: the first that fits. What needs more stands above what needs less.
inline const std::vector<Kind>& table() {
  const auto always = [](const ModelSpec&) { return true; };
  static const std::vector<Kind> kinds{
      {{"boxes", "scores", "classes", "image_index", "mask_probs", "sem_seg"},
       [](const ModelSpec& spec) { return spec.panoptic.has_value(); },
       make_panoptic},
      {{"boxes", "scores", "classes", "image_index"}, always, make_instances},
      {{"proposal_boxes", "objectness_logits", "image_index"}, always, make_proposals},
      {{"sem_seg", "center", "offset"},
       [](const ModelSpec& spec) { return spec.panoptic_deeplab.has_value(); },
       make_panoptic_deeplab},
      {{"sem_seg"}, always, make_semantic},
  };
  return kinds;
}

inline const Kind* find(const ModelSpec& spec) {
  for (const Kind& kind : table()) {
    const bool has_all = std::all_of(kind.outputs.begin(), kind.outputs.end(),
                                     [&](const std::string& name) { return spec.has_output(name); });
    if (has_all && kind.has_rule(spec)) return &kind;
  }
  return nullptr;
}

}  // namespace kinds

/// Raises Error when the model takes or gives something that no result can be made of.
inline void check_spec(const ModelSpec& spec) {
  std::string inputs, outputs;
  for (const TensorSpec& tensor : spec.inputs) inputs += (inputs.empty() ? "" : ", ") + tensor.name;
  for (const TensorSpec& tensor : spec.outputs) outputs += (outputs.empty() ? "" : ", ") + tensor.name;
  if (inputs != "images, image_sizes")
    throw Error("The model (" + spec.meta_architecture + ") takes " + inputs +
                "; this program can give images and image_sizes alone. Run it from Python.");
  if (!kinds::find(spec))
    throw Error("The model (" + spec.meta_architecture + ") gives " + outputs +
                ", which make no result that this program knows. Run it from Python.");
}

/// What the network says about an image. Raises Error: outputs that are not what the manifest promises.
inline Result to_result(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  return kinds::find(spec)->make(outputs, spec, frame);
}

}  // namespace d2deploy
