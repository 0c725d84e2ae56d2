// Calls a model as programs written for detectron2's own exports do (its tools/deploy/torchscript_mask_rcnn.cpp).
// Prints the shape of each output. Arguments: the file, and tracing or scripting.
#include <torch/script.h>

#include <iostream>
#include <string>

int main(int, char** argv) {
  const torch::NoGradGuard guard;
  auto module = torch::jit::load(argv[1]);
  const auto device = (*module.buffers().begin()).device();
  const auto image = torch::rand({3, 120, 160}).mul(255).to(device);
  if (std::string(argv[2]) == "tracing") {
    const auto outputs = module.forward({image});
    for (const auto& output : outputs.toTuple()->elements()) {
      std::cout << output.toTensor().sizes() << "\n";
    }
    return 0;
  }
  auto input = c10::Dict<std::string, torch::Tensor>();
  input.insert("image", image);
  const c10::IValue inputs = std::make_tuple(input);
  const auto instances = module.forward({inputs}).toList().get(0).toGenericDict();
  for (const auto* name : {"pred_boxes", "pred_classes", "pred_masks", "scores"}) {
    std::cout << instances.at(name).toTensor().sizes() << "\n";
  }
}
