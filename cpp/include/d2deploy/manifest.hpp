/// What a manifest.json says, as far as running needs it. The same names as in src/d2deploy/artifact.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/error.hpp"
#include "d2deploy/json.hpp"

namespace d2deploy {

constexpr int SCHEMA = 2;  // of src/d2deploy/artifact.py

/// How an image becomes the input tensor.
struct Preprocess {
  std::int64_t min_size;      // shorter edge after resizing, pixels; 0: no resizing
  std::int64_t max_size;      // cap on the longer edge, pixels
  bool is_rgb;                // the input tensor's channels; images are BGR
  std::int64_t size_divisor;  // height and width of the input tensor are multiples of it
};

/// What the graph applies; of a model that is told its thresholds when it runs, what it is told.
struct Thresholds {
  float score, nms;
};

/// How instances and semantic labels become one picture.
struct PanopticRule {
  double overlap;           // an instance of which more than this share is taken already is left out
  std::int64_t stuff_area;  // a stuff region of fewer pixels of the original image is left out
  double instance_score;    // instances below it are left out
};

/// How centres, offsets and semantic labels become one picture.
struct PanopticDeepLabRule {
  std::vector<std::int64_t> thing_ids;  // channels of sem_seg that are things
  std::int64_t stuff_area;              // pixels of the original image
  double center_threshold;
  std::int64_t nms_kernel;  // cells of the heat map
  std::int64_t top_k;       // centres
  bool predict_instances;
};

/// A mesh whose vertices are among vertex_embeddings.
struct MeshSpec {
  std::string name;  // such as smpl_27554
  std::int64_t num_vertices;
  std::vector<std::int64_t> classes;  // those that have this body
};

struct TensorSpec {
  std::string name;
  std::string dtype;  // numpy's name
};

/// What a model is to its user.
struct ModelSpec {
  std::string meta_architecture;
  std::vector<TensorSpec> inputs, outputs;
  Preprocess preprocess;
  std::vector<std::string> class_names;    // of detections; empty when nobody knows them
  std::vector<std::string> sem_seg_names;  // of the channels of sem_seg; empty when nobody knows them
  std::optional<Thresholds> thresholds;
  std::optional<PanopticRule> panoptic;
  std::optional<PanopticDeepLabRule> panoptic_deeplab;
  std::vector<MeshSpec> meshes;       // of vertex_embeddings, in order
  bool includes_preprocess = false;   // its input is one image, and it resizes it
  bool includes_postprocess = false;  // its outputs are results on the original image

  std::string class_name(std::int64_t id) const { return name_in(class_names, id); }
  std::string channel_name(std::int64_t id) const { return name_in(sem_seg_names, id); }
  bool has_output(const std::string& name) const {
    return std::any_of(outputs.begin(), outputs.end(), [&](const TensorSpec& spec) { return spec.name == name; });
  }

 private:
  static std::string name_in(const std::vector<std::string>& names, std::int64_t id) {
    const bool is_named = id >= 0 && id < static_cast<std::int64_t>(names.size());
    return is_named ? names[id] : std::to_string(id);
  }
};

struct Manifest {
  std::string format;                         // "torchscript", "onnx", "openvino"
  std::string file;                           // the model file, relative to the folder
  std::map<std::string, std::string> hashes;  // file -> SHA-256
  bool is_like_detectron2 = false;            // called as detectron2's own exports are
  ModelSpec spec;
};

namespace manifest_json {

inline std::vector<std::string> texts(const Json& list, const std::string& name) {
  std::vector<std::string> found;
  for (const Json& item : list.array(name)) found.push_back(item.text(name));
  return found;
}

inline std::int64_t whole(const Json& object, const std::string& name, std::int64_t lowest, std::int64_t highest) {
  const std::int64_t value = object.at(name).whole(name);
  if (value < lowest || value > highest) throw Error(name + " is out of range");
  return value;
}

constexpr std::int64_t MANY = (std::int64_t{1} << 31) - 1;  // no count, no size in pixels comes near

inline std::vector<TensorSpec> tensors(const Json& list, const std::string& name) {
  std::vector<TensorSpec> found;
  for (const Json& item : list.array(name))
    found.push_back({item.at("name").text("name"), item.at("dtype").text("dtype")});
  return found;
}

inline Preprocess preprocess(const Json& json) {
  const std::string& order = json.at("channel_order").text("channel_order");
  if (order != "BGR" && order != "RGB") throw Error("channel_order is neither BGR nor RGB");
  return {whole(json, "min_size", 0, MANY), whole(json, "max_size", 0, MANY), order == "RGB",
          whole(json, "size_divisor", 0, 4096)};
}

inline PanopticRule panoptic(const Json& json) {
  return {json.at("overlap").number("overlap"), whole(json, "stuff_area", -MANY, MANY),
          json.at("instance_score").number("instance_score")};
}

inline PanopticDeepLabRule panoptic_deeplab(const Json& json) {
  PanopticDeepLabRule rule{{},
                           whole(json, "stuff_area", -MANY, MANY),
                           json.at("center_threshold").number("center_threshold"),
                           whole(json, "nms_kernel", 1, 4095),
                           whole(json, "top_k", 1, MANY),
                           json.at("predict_instances").boolean("predict_instances")};
  for (const Json& id : json.at("thing_ids").array("thing_ids")) rule.thing_ids.push_back(id.whole("thing_ids"));
  return rule;
}

/// How many vertices the model tells the embeddings of.
inline std::int64_t vertices(const Json& outputs) {
  for (const Json& tensor : outputs.array("outputs"))
    if (const auto& shape = tensor.at("shape").array("shape"); tensor.at("name").text("name") == "vertex_embeddings")
      return shape.empty() ? 0 : shape[0].whole("vertex_embeddings' length");
  return 0;
}

inline MeshSpec mesh(const Json& json) {
  MeshSpec mesh{json.at("name").text("name"), whole(json, "num_vertices", 1, MANY), {}};
  for (const Json& id : json.at("classes").array("classes")) mesh.classes.push_back(id.whole("classes"));
  return mesh;
}

inline std::vector<MeshSpec> meshes(const Json& spec) {
  std::vector<MeshSpec> found;
  std::int64_t count = 0;
  if (const Json* list = spec.find("meshes"))
    for (const Json& item : list->array("meshes")) count += found.emplace_back(mesh(item)).num_vertices;
  if (count != vertices(spec.at("outputs")))
    throw Error("meshes is out of range: they do not have as many vertices as vertex_embeddings");
  return found;
}

inline bool flag(const Json& object, const std::string& name) {
  const Json* found = object.find(name);
  return found && found->boolean(name);
}

/// A member that may be absent, as in manifests of schema 1, or null.
template <typename T>
std::optional<T> maybe(const Json& object, const std::string& name, T (*read)(const Json&)) {
  const Json* found = object.find(name);
  return found && !found->is_null() ? std::optional<T>(read(*found)) : std::nullopt;
}

inline Thresholds thresholds(const Json& json) {
  return {static_cast<float>(json.at("score").number("score")), static_cast<float>(json.at("nms").number("nms"))};
}

inline ModelSpec spec(const Json& json) {
  ModelSpec spec;
  spec.meta_architecture = json.at("meta_architecture").text("meta_architecture");
  spec.inputs = tensors(json.at("inputs"), "inputs");
  spec.outputs = tensors(json.at("outputs"), "outputs");
  spec.preprocess = preprocess(json.at("preprocess"));
  spec.class_names = texts(json.at("class_names"), "class_names");
  if (const Json* names = json.find("sem_seg_names")) spec.sem_seg_names = texts(*names, "sem_seg_names");
  spec.includes_preprocess = flag(json, "includes_preprocess");
  spec.includes_postprocess = flag(json, "includes_postprocess");
  json.at("thresholds");  // null where there are none, but never absent
  spec.thresholds = maybe(json, "thresholds", thresholds);
  spec.panoptic = maybe(json, "panoptic", panoptic);
  spec.panoptic_deeplab = maybe(json, "panoptic_deeplab", panoptic_deeplab);
  spec.meshes = meshes(json);
  return spec;
}

}  // namespace manifest_json

/// The manifest in a JSON document. Raises Error that names the field that is not as it must be.
inline Manifest to_manifest(const Json& json) {
  Manifest manifest;
  manifest.format = json.at("format").text("format");
  manifest.file = json.at("file").text("file");
  manifest.spec = manifest_json::spec(json.at("spec"));
  const Json* signature = json.at("options").find("signature");
  manifest.is_like_detectron2 = signature && signature->text("signature") == "detectron2";
  for (const auto& [file, digest] : json.at("hashes").object("hashes")) manifest.hashes[file] = digest.text("hashes");
  return manifest;
}

}  // namespace d2deploy
