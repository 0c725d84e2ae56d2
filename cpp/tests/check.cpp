/// The shared parts alone, for tests/cpp: what they give is compared with Python's.
///
///   check shapes  < lines "height width min_size max_size"      > lines "height width" after the short-edge rule
///   check resize  < int32 h w H W and h x w x 3 bytes, repeated > H x W x 3 bytes, repeated
///   check read FILE                                             > int32 h w and h x w x 3 bytes, BGR
///   check result  < {"spec", "input_size", "image_size", "outputs": {name: {"dtype", "shape", "data"}}} > JSON
///   check surfaces < the same as result                         > [{"x", "y", "size", "labels", "u", ... or "mesh"}]
///   check draw    < the same as result                          > int32 h w and h x w x 3 bytes, drawn on grey
///   check base64  < bytes                                       > text
///   check core    < {name: {"dtype", "shape", "data"}} of a Caffe2 net > {name: {"shape", "data"}} of the core
///   check json    < JSON                                        > the same, written anew

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <iterator>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core_outputs.hpp"
#include "d2deploy/base64.hpp"
#include "d2deploy/draw.hpp"
#include "d2deploy/error.hpp"
#include "d2deploy/image.hpp"
#include "d2deploy/json_read.hpp"
#include "d2deploy/postprocess.hpp"
#include "d2deploy/resize.hpp"
#include "d2deploy/written.hpp"

namespace {

using namespace d2deploy;

constexpr std::uint8_t GREY = 100;

std::string all_input() { return {std::istreambuf_iterator<char>(std::cin), {}}; }

bool read_numbers(std::int32_t* numbers, int count) {
  return static_cast<bool>(std::cin.read(reinterpret_cast<char*>(numbers), count * 4));
}

void write_numbers(const std::vector<std::int32_t>& numbers) {
  std::cout.write(reinterpret_cast<const char*>(numbers.data()), static_cast<std::streamsize>(numbers.size() * 4));
}

void write_pixels(const Image& image) {
  std::cout.write(reinterpret_cast<const char*>(image.pixels.data()),
                  static_cast<std::streamsize>(image.pixels.size()));
}

void shapes() {
  int height, width, min_size, max_size;
  while (std::cin >> height >> width >> min_size >> max_size) {
    const Size size = resized_shape({height, width}, {min_size, max_size, false, 0});
    std::cout << size.height << ' ' << size.width << '\n';
  }
}

void resize_all() {
  std::int32_t edges[4];
  while (read_numbers(edges, 4)) {
    Image image(edges[0], edges[1]);
    std::cin.read(reinterpret_cast<char*>(image.pixels.data()), static_cast<std::streamsize>(image.pixels.size()));
    write_pixels(resize(std::move(image), {edges[2], edges[3]}));
  }
}

void read(const std::string& file) {
  const Image image = read_image(file);
  write_numbers({image.height, image.width});
  write_pixels(image);
}

template <typename T, typename Read>
Tensor numbers(const Json& json, Shape shape, Read read) {
  std::vector<T> found;
  for (const Json& number : json.at("data").array("data")) found.push_back(static_cast<T>(read(number)));
  return d2deploy::to_tensor<T>(std::move(shape), std::move(found));
}

Tensor to_tensor(const Json& json) {
  Shape shape;
  for (const Json& edge : json.at("shape").array("shape")) shape.push_back(edge.whole("shape"));
  const auto whole = [](const Json& number) { return number.whole("data"); };
  if (json.at("dtype").text("dtype") == "int64") return numbers<std::int64_t>(json, shape, whole);
  return numbers<float>(json, shape, [](const Json& number) { return number.number("data"); });
}

Size to_size(const Json& json) {
  const auto& edges = json.array("size");
  return {static_cast<int>(edges.at(0).whole("size")), static_cast<int>(edges.at(1).whole("size"))};
}

/// What was made of outputs on stdin.
struct Found {
  ModelSpec spec;
  Size image_size;
  Result result;

  Image drawn() const {
    Image grey(image_size.height, image_size.width);
    std::fill(grey.pixels.begin(), grey.pixels.end(), GREY);
    return draw_result(grey, result, spec, 0);
  }
};

Found read_found() {
  const Json json = read_json(all_input());
  const ModelSpec spec = manifest_json::spec(json.at("spec"));
  Outputs outputs;
  for (const auto& [name, tensor] : json.at("outputs").object("outputs")) outputs.add(name, to_tensor(tensor));
  const Frame frame{to_size(json.at("input_size")), to_size(json.at("image_size"))};
  check_spec(spec);
  return {spec, frame.image_size, to_result(outputs, spec, frame)};
}

void result() {
  const Found found = read_found();
  found.drawn();  // no comparison: it must not crash
  std::cout << to_json(found.result, found.spec, "image", found.image_size).dump() << '\n';
}

void draw() {
  const Image drawn = read_found().drawn();
  write_numbers({drawn.height, drawn.width});
  write_pixels(drawn);
}

template <typename T>
Json::Array list(const std::vector<T>& numbers) {
  using Number = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;
  Json::Array items;
  for (const T number : numbers) items.emplace_back(static_cast<Number>(number));
  return items;
}

/// Before it is cut to bytes.
struct Surface {
  Json::Object operator()(const DensePoseChart& chart) const {
    Json::Object json = place(chart, chart.labels);
    json.emplace_back("u", list(chart.u));
    json.emplace_back("v", list(chart.v));
    for (const auto& [name, values] : chart.confidences) json.emplace_back(name, list(values));
    return json;
  }
  Json::Object operator()(const DensePoseVertices& found) const {
    Json::Object json = place(found, found.vertices);
    json.emplace_back("mesh", found.mesh);
    return json;
  }

  template <typename T>
  static Json::Object place(const T& surface, const Labels& labels) {
    return {{"x", surface.x},
            {"y", surface.y},
            {"size", Json::Array{labels.size.height, labels.size.width}},
            {"labels", list(labels.values)}};
  }
};

void surfaces() {
  const Found found = read_found();
  Json::Array rows;
  for (const Instance& instance : std::get<Instances>(found.result))
    rows.emplace_back(std::visit(Surface(), instance.dense_pose.value()));
  std::cout << Json(std::move(rows)).dump() << '\n';
}

template <typename T>
Json::Object listed(const Outputs& outputs, const std::string& name) {
  const Shape& shape = outputs.shape(name);
  const T* first = outputs.get<T>(name, shape.size());
  const auto count = std::accumulate(shape.begin(), shape.end(), std::ptrdiff_t{1}, std::multiplies<>());
  using Number = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;
  Json::Array data;
  for (const T* number = first; number < first + count; ++number) data.emplace_back(static_cast<Number>(*number));
  return {{"shape", Json::Array(shape.begin(), shape.end())}, {"data", std::move(data)}};
}

void core() {
  Outputs made;
  const Json json = read_json(all_input());
  for (const auto& [name, tensor] : json.object("what a net gives")) made.add(name, to_tensor(tensor));
  const Outputs core = core_outputs(made);
  Json::Object found;
  for (const auto& [name, tensor] : json.object("what a net gives")) {
    const bool is_whole = name == "classes" || name == "image_index";
    found.emplace_back(name, is_whole ? listed<std::int64_t>(core, name) : listed<float>(core, name));
  }
  std::cout << Json(std::move(found)).dump() << '\n';
}

int run(const std::vector<std::string>& words) {
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "shapes") return shapes(), 0;
  if (verb == "resize") return resize_all(), 0;
  if (verb == "read" && words.size() == 2) return read(words[1]), 0;
  if (verb == "result") return result(), 0;
  if (verb == "surfaces") return surfaces(), 0;
  if (verb == "draw") return draw(), 0;
  if (verb == "base64") return std::cout << base64(all_input()), 0;
  if (verb == "core") return core(), 0;
  if (verb == "json") return std::cout << read_json(all_input()).dump(), 0;
  throw Error("check shapes|resize|read FILE|result|surfaces|draw|base64|core|json");
}

}  // namespace

int main(int count, char** words) {
  try {
    return run({words + 1, words + count});
  } catch (const std::exception& error) {
    return report(error.what());
  }
}
