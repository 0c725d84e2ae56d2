/// A client: what a command line asks for, whatever runs the network. client.cpp is the rest of it.
#pragma once

#include <string>

#include "d2deploy/artifact.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

/// What runs networks of one format.
struct Runtime {
  std::string program;              // d2deploy_<runtime>
  std::string format;               // of the artifacts that it runs
  Runner (*load)(const Artifact&);  // raises Error
};

/// The whole program: 0 fine, 2 bad input.
int run_client(int count, char** words, const Runtime& runtime);

}  // namespace d2deploy
