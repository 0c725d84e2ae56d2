/// Runs OpenVINO artifacts with OpenVINO.

#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/client.hpp"

namespace {

using d2deploy::Artifact;
using d2deploy::DType;
using d2deploy::Error;
using d2deploy::Outputs;
using d2deploy::Runner;
using d2deploy::Shape;
using d2deploy::Tensor;

const std::pair<DType, ov::element::Type> TYPES[] = {{DType::float32, ov::element::f32},
                                                     {DType::int64, ov::element::i64},
                                                     {DType::int32, ov::element::i32},
                                                     {DType::uint8, ov::element::u8},
                                                     {DType::boolean, ov::element::boolean}};

ov::Tensor to_openvino(const Tensor& tensor) {
  ov::element::Type type;
  for (const auto& [ours, theirs] : TYPES)
    if (ours == tensor.dtype) type = theirs;
  return {type, ov::Shape(tensor.shape.begin(), tensor.shape.end()), const_cast<void*>(tensor.data.get())};
}

/// `request` owns the memory of its results, so it lives as long as they do.
Tensor from_openvino(const std::shared_ptr<ov::InferRequest>& request, const std::string& name) {
  const ov::Tensor tensor = request->get_tensor(name);
  DType dtype = DType::other;
  for (const auto& [ours, theirs] : TYPES)
    if (theirs == tensor.get_element_type()) dtype = ours;
  const ov::Shape shape = tensor.get_shape();
  const auto owner = std::make_shared<std::pair<std::shared_ptr<ov::InferRequest>, ov::Tensor>>(request, tensor);
  return {dtype, Shape(shape.begin(), shape.end()), {owner, tensor.get_size() > 0 ? tensor.data() : nullptr}};
}

Outputs run(ov::CompiledModel& model, const Artifact& artifact, const std::vector<Tensor>& inputs) try {
  const auto request = std::make_shared<ov::InferRequest>(model.create_infer_request());
  const auto& spec = artifact.spec();
  for (std::size_t i = 0; i < inputs.size(); ++i) request->set_tensor(spec.inputs[i].name, to_openvino(inputs[i]));
  request->infer();
  Outputs outputs;
  for (const auto& output : spec.outputs) outputs.add(output.name, from_openvino(request, output.name));
  return outputs;
} catch (const ov::Exception& error) {
  throw Error(artifact.file().string() + " cannot be run by OpenVINO: " + d2deploy::reason(error.what()) +
              ". Export again.");
}

/// In float32, whatever faster type the processor has.
Runner load(const Artifact& artifact) try {
  const auto core = std::make_shared<ov::Core>();
  const auto model = std::make_shared<ov::CompiledModel>(
      core->compile_model(artifact.file().string(), "CPU", ov::hint::inference_precision(ov::element::f32)));
  return [core, model, artifact](const std::vector<Tensor>& inputs) { return run(*model, artifact, inputs); };
} catch (const ov::Exception& error) {
  throw Error(artifact.file().string() + " cannot be loaded by OpenVINO: " + d2deploy::reason(error.what()) +
              ". Export again.");
}

}  // namespace

int main(int count, char** words) {
  return d2deploy::run_client(count, words, {"d2deploy_openvino", "openvino", load});
}
