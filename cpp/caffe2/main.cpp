/// Runs Caffe2 artifacts with the Caffe2 in torch 1.8.1.

#include <caffe2/core/init.h>
#include <caffe2/core/workspace.h>
#include <caffe2/utils/proto_utils.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core_outputs.hpp"
#include "d2deploy/client.hpp"
#include "d2deploy/file.hpp"

namespace {

using d2deploy::Artifact;
using d2deploy::DType;
using d2deploy::Error;
using d2deploy::Outputs;
using d2deploy::Runner;
using d2deploy::Shape;
using d2deploy::Tensor;

// The names of the net's blobs: src/d2deploy/backends/caffe2/names.py.
const std::map<std::string, std::string> INPUTS{{"images", "data"}, {"image_sizes", "im_info"}};
const std::map<std::string, std::string> OUTPUTS{
    {"boxes", "bbox_nms"},
    {"scores", "score_nms"},
    {"classes", "class_nms"},
    {"image_index", "roi_batch_splits_nms"},  // how many rows each image has
    {"mask_probs", "mask_fcn_probs"},
    {"keypoint_heatmaps", "kps_score"},
    {"sem_seg", "sem_seg"},
    {"proposal_boxes", "rpn_boxes"},
    {"objectness_logits", "rpn_roi_probs"},
    {"center", "center"},
    {"offset", "offset"},
    {"coarse_segm", "ann_index"},
    {"fine_segm", "index_uv"},
    {"u", "u"},
    {"v", "v"},
    {"sigma_2", "sigma_2"},
    {"kappa_u", "kappa_u"},
    {"kappa_v", "kappa_v"},
    {"fine_segm_confidence", "fine_segm_confidence"},
    {"coarse_segm_confidence", "coarse_segm_confidence"},
    {"embedding", "embedding"},
    {"vertex_embeddings", "vertex_embeddings"}};

Error refusal(const std::string& what, const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return Error(what + ": " + d2deploy::reason(text.substr(0, text.find('\n'))) + ". Export again.");
}

/// Once a process. What goes wrong is said by the exceptions; a log beside them would be a second voice.
void start() {
  static const bool has_started = [] {
    std::string words[] = {"caffe2", "--caffe2_log_level=3"};
    char* arguments[] = {&words[0][0], &words[1][0], nullptr};
    int count = 2;
    char** first = arguments;
    return caffe2::GlobalInit(&count, &first);
  }();
  if (!has_started) throw Error("Caffe2 cannot start. Make its environment again: d2deploy caffe2-runtime.");
}

class Net {
 public:
  explicit Net(const Artifact& artifact) : artifact_(artifact), name_(artifact.file().string()) {
    check_names(artifact.spec().inputs, INPUTS, "takes ");
    check_names(artifact.spec().outputs, OUTPUTS, "gives ");
    start();
    workspace_ = std::make_shared<caffe2::Workspace>();
    const caffe2::NetDef init = read(artifact.path / "model_init.pb"), net = read(artifact.file());
    try {
      if (!workspace_->RunNetOnce(init)) throw Error(name_ + ": Caffe2 cannot fill in its weights. Export again.");
      for (const auto& input : INPUTS) workspace_->CreateBlob(input.second);
      net_ = workspace_->CreateNet(net);
    } catch (const c10::Error& error) {
      throw refusal(name_ + " cannot be loaded by Caffe2", error);
    }
    if (!net_) throw Error(name_ + " cannot be loaded by Caffe2. Export again.");
  }

  Outputs operator()(const std::vector<Tensor>& inputs) const {
    const auto& spec = artifact_.spec();
    for (std::size_t i = 0; i < inputs.size(); ++i)
      feed(INPUTS.at(spec.inputs[i].name), spec.inputs[i].name == "image_sizes" ? im_info(inputs[i]) : inputs[i]);
    try {
      if (!net_->Run()) throw Error(name_ + " cannot be run by Caffe2. Give a smaller image, or export again.");
    } catch (const c10::Error& error) {
      throw refusal(name_ + " cannot be run by Caffe2", error);
    }
    Outputs made;
    for (const auto& output : spec.outputs) made.add(output.name, fetch(OUTPUTS.at(output.name)));
    return d2deploy::core_outputs(made);
  }

 private:
  static void check_names(const std::vector<d2deploy::TensorSpec>& tensors,
                          const std::map<std::string, std::string>& known, const std::string& verb) {
    for (const auto& tensor : tensors)
      if (known.count(tensor.name) == 0)
        throw Error("The model " + verb + tensor.name + ", for which a Caffe2 net has no name. Export again.");
  }

  static caffe2::NetDef read(const d2deploy::fs::path& file) {
    caffe2::NetDef net;
    if (!caffe2::ParseProtoFromLargeString(d2deploy::read_file(file), &net))
      throw Error(file.string() + " cannot be loaded by Caffe2: it is no net. Export again.");
    return net;
  }

  /// Sizes int64 [N,2] as float32 [N,3]: height, width, scale.
  static Tensor im_info(const Tensor& sizes) {
    const auto* edges = static_cast<const std::int64_t*>(sizes.data.get());
    std::vector<float> rows;
    for (std::int64_t i = 0; i < sizes.shape[0]; ++i)
      rows.insert(rows.end(), {static_cast<float>(edges[2 * i]), static_cast<float>(edges[2 * i + 1]), 1.f});
    return d2deploy::to_tensor<float>({sizes.shape[0], 3}, std::move(rows));
  }

  /// float32 only: a net takes nothing else.
  void feed(const std::string& name, const Tensor& tensor) const {
    caffe2::Tensor* blob = BlobGetMutableTensor(workspace_->GetBlob(name), caffe2::CPU);
    blob->Resize(tensor.shape);
    std::memcpy(blob->mutable_data<float>(), tensor.data.get(), tensor.bytes());
  }

  /// Taken out of the workspace, so that the next run writes to another place.
  Tensor fetch(const std::string& name) const {
    const auto taken = std::make_shared<caffe2::Blob>();
    caffe2::Blob* blob = workspace_->GetBlob(name);
    if (!blob || !BlobIsTensorType(*blob, caffe2::CPU))
      throw Error(name_ + " gives no " + name + ", which its manifest promises. Export again.");
    taken->swap(*blob);
    const auto& tensor = taken->Get<caffe2::Tensor>();
    const DType dtype = tensor.IsType<float>() ? DType::float32 : DType::other;
    return {dtype, tensor.sizes().vec(), {taken, tensor.raw_data()}};
  }

  Artifact artifact_;
  std::string name_;
  std::shared_ptr<caffe2::Workspace> workspace_;
  caffe2::NetBase* net_ = nullptr;  // the workspace's
};

Runner load(const Artifact& artifact) { return Net(artifact); }

/// Caffe2's MKL (2020.0) takes its code for AVX2 on Intel's processors only, unless it is told to. Before its first call.
void let_mkl_use_avx2() {
#ifdef __x86_64__
  if (__builtin_cpu_is("amd") && __builtin_cpu_supports("avx2")) {
    setenv("MKL_DEBUG_CPU_TYPE", "5", /*replace=*/0);
  }
#endif
}

}  // namespace

int main(int count, char** words) {
  let_mkl_use_avx2();
  return d2deploy::run_client(count, words, {"d2deploy_caffe2", "caffe2", load});
}
