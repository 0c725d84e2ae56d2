/// From DensePose's outputs to places on a body's surface, for the pixels of each detection's box. The rule of
/// src/d2deploy/postprocess/dense_pose.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/manifest.hpp"
#include "d2deploy/maps.hpp"
#include "d2deploy/nearest.hpp"
#include "d2deploy/result.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

namespace dense_pose {

constexpr const char* CONFIDENCES[] = {"sigma_2", "kappa_u", "kappa_v", "fine_segm_confidence",
                                       "coarse_segm_confidence"};
constexpr std::size_t BLOCK = 1 << 14;  // pixels that are looked up at a time

/// An output [rows, count, height, width].
struct MapRows {
  const float* data;
  int count;
  Size size;

  MapRows(const Outputs& outputs, const std::string& name, std::int64_t rows) : data(outputs.get<float>(name, 4)) {
    const Shape& shape = outputs.shape(name);
    outputs.check(name, shape[0] == rows && *std::min_element(shape.begin() + 1, shape.end()) > 0);
    count = static_cast<int>(shape[1]);
    size = {static_cast<int>(shape[2]), static_cast<int>(shape[3])};
  }
  Maps row(std::int64_t i) const { return {data + i * count * size.height * size.width, count, size, size}; }
};

/// The part of the original image that a box covers, in whole pixels, cut off as detectron2 does.
struct Place {
  int x, y;
  Size size;

  explicit Place(const std::vector<float>& box)
      : x(static_cast<int>(box[0])),
        y(static_cast<int>(box[1])),
        size{std::max(static_cast<int>(box[3] - box[1]), 1), std::max(static_cast<int>(box[2] - box[0]), 1)} {}
};

/// Of each pixel the map of its part, 0 where it has none; a single map is everybody's.
inline std::vector<float> values_at(const Maps& maps, const Labels& labels) {
  if (maps.count == 1) return enlarge(maps, 0, labels.size);
  const EnlargedMaps enlarged(maps, labels.size);
  std::vector<float> found(labels.values.size());
  for (int y = 0; y < labels.size.height; ++y)
    for (int x = 0; x < labels.size.width; ++x)
      if (const int part = labels.row(y)[x]; part > 0)
        found[std::size_t(y) * labels.size.width + x] = enlarged.at(part, y, x);
  return found;
}

class Charts {
 public:
  Charts(const Outputs& outputs, std::int64_t rows) : parts_(outputs, "fine_segm", rows) {
    for (const char* name : {"u", "v"}) add(outputs, name, rows);
    for (const char* name : CONFIDENCES)
      if (outputs.has(name)) add(outputs, name, rows);
  }

  DensePoseChart on(const Place& place, const Labels& is_body, std::int64_t row) const {
    Labels labels = find_labels(parts_.row(row), place.size);
    for (std::size_t i = 0; i < labels.values.size(); ++i)
      if (!is_body.values[i]) labels.values[i] = 0;
    std::map<std::string, std::vector<float>> values;
    for (const auto& [name, maps] : values_) values[name] = values_at(maps.row(row), labels);
    auto u = std::move(values.extract("u").mapped()), v = std::move(values.extract("v").mapped());
    return {place.x, place.y, std::move(labels), std::move(u), std::move(v), std::move(values)};
  }

 private:
  void add(const Outputs& outputs, const char* name, std::int64_t rows) {
    const MapRows& maps = values_.emplace(name, MapRows(outputs, name, rows)).first->second;
    outputs.check(name, maps.count == 1 || maps.count == parts_.count);
  }

  MapRows parts_;
  std::map<std::string, MapRows> values_;  // u, v and confidences
};

class Embeddings {
 public:
  Embeddings(const Outputs& outputs, const std::vector<MeshSpec>& meshes, std::int64_t rows)
      : maps_(outputs, "embedding", rows) {
    if (meshes.empty()) return;
    const float* vertices = outputs.get<float>("vertex_embeddings", 2);
    std::int64_t count = 0;
    for (const MeshSpec& mesh : meshes) count += mesh.num_vertices;
    outputs.check("vertex_embeddings", outputs.shape("vertex_embeddings") == Shape{count, maps_.count});
    for (const MeshSpec& mesh : meshes) {
      meshes_.push_back({mesh.name, NearestPoint(vertices, mesh.num_vertices, maps_.count)});
      vertices += mesh.num_vertices * maps_.count;
      for (const std::int64_t class_id : mesh.classes) of_class_[class_id] = meshes_.size() - 1;
    }
  }

  DensePoseVertices on(const Place& place, const Labels& is_body, std::int64_t row, std::int64_t class_id) const {
    DensePoseVertices found{place.x, place.y, Labels(place.size, -1), ""};
    const auto mesh = of_class_.find(class_id);
    if (mesh == of_class_.end()) {
      for (std::size_t i = 0; i < is_body.values.size(); ++i) found.vertices.values[i] = is_body.values[i] ? 0 : -1;
      return found;
    }
    found.mesh = meshes_[mesh->second].name;
    fill(found.vertices, is_body, maps_.row(row), meshes_[mesh->second].vertices);
    return found;
  }

 private:
  struct Mesh {
    std::string name;
    NearestPoint vertices;
  };

  static void fill(Labels& found, const Labels& is_body, const Maps& maps, const NearestPoint& vertices) {
    EnlargedMaps enlarged(maps, found.size);
    std::vector<float> rows(std::size_t(maps.count) * found.size.width), places;
    std::vector<std::int32_t*> pixels;
    for (int y = 0; y < found.size.height; ++y) {
      for (int map = 0; map < maps.count; ++map) enlarged.row(map, y, &rows[std::size_t(map) * found.size.width]);
      for (int x = 0; x < found.size.width; ++x) {
        if (!is_body.row(y)[x]) continue;
        pixels.push_back(found.row(y) + x);
        for (int map = 0; map < maps.count; ++map) places.push_back(rows[std::size_t(map) * found.size.width + x]);
      }
      if (pixels.size() < BLOCK && y + 1 < found.size.height) continue;
      const auto nearest = vertices.find(places);
      for (std::size_t i = 0; i < pixels.size(); ++i) *pixels[i] = nearest[i];
      pixels.clear(), places.clear();
    }
  }

  MapRows maps_;
  std::vector<Mesh> meshes_;
  std::map<std::int64_t, std::size_t> of_class_;  // class -> row of meshes_
};

}  // namespace dense_pose

/// What a DensePose head says of each detection; false where the model has none. Raises Error: outputs that are not as
/// they must be.
///
/// outputs: coarse_segm [D,K,T,T] and either fine_segm, u, v [D,P,T,T] and perhaps confidences, or embedding [D,E,T,T]
/// and vertex_embeddings [V,E], those of all `meshes` one after the other. Everything is interpolated to the size of a
/// box, and the body is where another than the first of coarse_segm, the background, is highest.
class Surfaces {
 public:
  Surfaces(const Outputs& outputs, const std::vector<MeshSpec>& meshes, std::int64_t rows) {
    if (outputs.has("fine_segm"))
      charts_.emplace(outputs, rows);
    else if (outputs.has("embedding"))
      embeddings_.emplace(outputs, meshes, rows);
    if (charts_ || embeddings_) body_.emplace(outputs, "coarse_segm", rows);
  }

  explicit operator bool() const { return body_.has_value(); }

  /// Of detection `row`, whose box on the original image is `box` [4].
  DensePose on(const std::vector<float>& box, std::int64_t row, std::int64_t class_id) const {
    const dense_pose::Place place(box);
    const Labels is_body = find_labels(body_->row(row), place.size);
    if (charts_) return charts_->on(place, is_body, row);
    return embeddings_->on(place, is_body, row, class_id);
  }

 private:
  std::optional<dense_pose::MapRows> body_;
  std::optional<dense_pose::Charts> charts_;
  std::optional<dense_pose::Embeddings> embeddings_;
};

}  // namespace d2deploy
