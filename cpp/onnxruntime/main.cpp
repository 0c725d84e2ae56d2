/// Runs ONNX artifacts with ONNX Runtime.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/client.hpp"
#include "ort_api.hpp"

namespace {

using d2deploy::Artifact;
using d2deploy::DType;
using d2deploy::Error;
using d2deploy::Outputs;
using d2deploy::Runner;
using d2deploy::Tensor;

constexpr std::pair<DType, OrtElementType> TYPES[] = {{DType::float32, ORT_FLOAT},
                                                      {DType::int64, ORT_INT64},
                                                      {DType::int32, ORT_INT32},
                                                      {DType::uint8, ORT_UINT8},
                                                      {DType::boolean, ORT_BOOL}};

const OrtApi& api() {
  static const OrtApi* const table = OrtGetApiBase()->GetApi(1);
  if (!table) throw Error("This ONNX Runtime has no API of version 1. Link another one.");
  return *table;
}

void check(OrtStatus* status, const std::string& what) {
  if (!status) return;
  const std::string reason = d2deploy::reason(api().GetErrorMessage(status));
  api().ReleaseStatus(status);
  throw Error(what + ": " + reason + ". Export again.");
}

/// An object of ONNX Runtime that is released with its last owner. `create` fills the pointer that it is given.
template <typename T, typename Create>
std::shared_ptr<T> make(void (*release)(T*), const std::string& what, Create create) {
  T* made = nullptr;
  check(create(&made), what);
  return {made, release};
}

class Session {
 public:
  explicit Session(const Artifact& artifact) : artifact_(artifact), name_(artifact.file().string()) {
    env_ = make<OrtEnv>(api().ReleaseEnv, "ONNX Runtime cannot start",
                        [](auto out) { return api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "d2deploy", out); });
    check(api().DisableTelemetryEvents(env_.get()), "ONNX Runtime cannot start");  // some builds have it, nobody asked
    memory_ = make<OrtMemoryInfo>(api().ReleaseMemoryInfo, "ONNX Runtime cannot start", [](auto out) {
      return api().CreateCpuMemoryInfo(ORT_ARENA_ALLOCATOR, ORT_MEM_TYPE_DEFAULT, out);
    });
    const auto options = make<OrtSessionOptions>(api().ReleaseSessionOptions, "ONNX Runtime cannot start",
                                                 [](auto out) { return api().CreateSessionOptions(out); });
    session_ = make<OrtSession>(api().ReleaseSession, name_ + " cannot be loaded by ONNX Runtime", [&](auto out) {
      return api().CreateSession(env_.get(), name_.c_str(), options.get(), out);
    });
  }

  Outputs operator()(const std::vector<Tensor>& inputs) const {
    const auto& spec = artifact_.spec();
    std::vector<std::shared_ptr<OrtValue>> given;
    std::vector<const OrtValue*> values;
    std::vector<const char*> input_names, output_names;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      given.push_back(to_value(inputs[i]));
      values.push_back(given.back().get());
      input_names.push_back(spec.inputs[i].name.c_str());
    }
    for (const auto& output : spec.outputs) output_names.push_back(output.name.c_str());
    std::vector<OrtValue*> found(output_names.size());
    check(api().Run(session_.get(), nullptr, input_names.data(), values.data(), values.size(), output_names.data(),
                    output_names.size(), found.data()),
          name_ + " cannot be run by ONNX Runtime");
    std::vector<std::shared_ptr<OrtValue>> owned;
    for (OrtValue* value : found) owned.emplace_back(value, api().ReleaseValue);
    Outputs outputs;
    for (std::size_t i = 0; i < owned.size(); ++i) outputs.add(spec.outputs[i].name, from_value(owned[i]));
    return outputs;
  }

 private:
  std::shared_ptr<OrtValue> to_value(const Tensor& tensor) const {
    OrtElementType type{};
    for (const auto& [ours, theirs] : TYPES)
      if (ours == tensor.dtype) type = theirs;
    return make<OrtValue>(api().ReleaseValue, "ONNX Runtime takes no such input", [&](auto out) {
      return api().CreateTensorWithDataAsOrtValue(memory_.get(), const_cast<void*>(tensor.data.get()), tensor.bytes(),
                                                  tensor.shape.data(), tensor.shape.size(), type, out);
    });
  }

  Tensor from_value(const std::shared_ptr<OrtValue>& value) const {
    const std::string what = name_ + " gave an output that cannot be read";
    const auto info = make<OrtTensorTypeAndShapeInfo>(api().ReleaseTensorTypeAndShapeInfo, what, [&](auto out) {
      return api().GetTensorTypeAndShape(value.get(), out);
    });
    std::size_t rank = 0;
    OrtElementType type{};
    void* data = nullptr;
    check(api().GetDimensionsCount(info.get(), &rank), what);
    d2deploy::Shape shape(rank);
    check(api().GetDimensions(info.get(), shape.data(), rank), what);
    check(api().GetTensorElementType(info.get(), &type), what);
    check(api().GetTensorMutableData(value.get(), &data), what);
    DType dtype = DType::other;
    for (const auto& [ours, theirs] : TYPES)
      if (theirs == type) dtype = ours;
    return {dtype, std::move(shape), {value, data}};
  }

  Artifact artifact_;
  std::string name_;
  std::shared_ptr<OrtEnv> env_;  // first: it must outlive the session
  std::shared_ptr<OrtMemoryInfo> memory_;
  std::shared_ptr<OrtSession> session_;
};

Runner load(const Artifact& artifact) { return Session(artifact); }

}  // namespace

int main(int count, char** words) { return d2deploy::run_client(count, words, {"d2deploy_onnxruntime", "onnx", load}); }
