/// Runs TorchScript artifacts with libtorch.

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

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
using d2deploy::Tensor;

constexpr std::pair<DType, at::ScalarType> TYPES[] = {{DType::float32, at::kFloat},
                                                      {DType::int64, at::kLong},
                                                      {DType::int32, at::kInt},
                                                      {DType::uint8, at::kByte},
                                                      {DType::boolean, at::kBool}};

at::Tensor to_torch(const Tensor& tensor) {
  at::ScalarType type{};
  for (const auto& [ours, theirs] : TYPES)
    if (ours == tensor.dtype) type = theirs;
  return at::from_blob(const_cast<void*>(tensor.data.get()), tensor.shape, at::TensorOptions().dtype(type));
}

Tensor from_torch(const at::Tensor& tensor) {
  const auto whole = std::make_shared<at::Tensor>(tensor.cpu().contiguous());
  DType dtype = DType::other;
  for (const auto& [ours, theirs] : TYPES)
    if (theirs == whole->scalar_type()) dtype = ours;
  return {dtype, whole->sizes().vec(), {whole, whole->const_data_ptr()}};
}

/// The whole text of libtorch's errors is a stack trace; what went wrong is its first line.
Error refusal(const Artifact& artifact, const std::string& what, const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return Error(artifact.file().string() + what + d2deploy::reason(text.substr(0, text.find('\n'))) + ". Export again.");
}

/// A list of tensors (or a tuple of them), in the order of the manifest's outputs.
std::vector<at::Tensor> to_tensors(const c10::IValue& value) {
  if (value.isTensorList()) return value.toTensorVector();
  std::vector<at::Tensor> tensors;
  if (value.isTuple())
    for (const c10::IValue& element : value.toTupleRef().elements()) tensors.push_back(element.toTensor());
  return tensors;
}

Outputs run(torch::jit::Module& module, const Artifact& artifact, const std::vector<Tensor>& inputs) try {
  const c10::InferenceMode no_gradients;
  std::vector<c10::IValue> values;
  for (const Tensor& input : inputs) values.emplace_back(to_torch(input));
  const auto tensors = to_tensors(module.forward(std::move(values)));
  const auto& promised = artifact.spec().outputs;
  if (tensors.size() != promised.size())
    throw Error("The model gave " + std::to_string(tensors.size()) + " outputs; its manifest promises " +
                std::to_string(promised.size()) + ". Export again.");
  Outputs outputs;
  for (std::size_t i = 0; i < tensors.size(); ++i) outputs.add(promised[i].name, from_torch(tensors[i]));
  return outputs;
} catch (const c10::Error& error) {
  throw refusal(artifact, " cannot be run: ", error);
}

Runner load(const Artifact& artifact) try {
  auto module = std::make_shared<torch::jit::Module>(torch::jit::load(artifact.file().string(), at::kCPU));
  module->eval();
  return [module, artifact](const std::vector<Tensor>& inputs) { return run(*module, artifact, inputs); };
} catch (const c10::Error& error) {
  throw refusal(artifact, " cannot be loaded as TorchScript: ", error);
}

}  // namespace

int main(int count, char** words) {
  return d2deploy::run_client(count, words, {"d2deploy_torchscript", "torchscript", load});
}
