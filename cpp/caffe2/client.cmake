# d2deploy_caffe2, by the Caffe2 in D2DEPLOY_CAFFE2_PYTHON's torch (`d2deploy caffe2-runtime` makes such a Python).
set(D2DEPLOY_PROTOBUF_HEADERS "" CACHE PATH "folder with protobuf 3.11's google/protobuf/message.h; else from PyPI")

# Asked once a Python: importing torch takes seconds.
list(POP_FRONT D2DEPLOY_CAFFE2_TORCH asked torch_folder has_new_string)
if(NOT asked STREQUAL D2DEPLOY_CAFFE2_PYTHON)
  set(code "import os, torch; print(os.path.dirname(torch.__file__), int(torch._C._GLIBCXX_USE_CXX11_ABI), sep=';')")
  execute_process(COMMAND "${D2DEPLOY_CAFFE2_PYTHON}" -I -c "${code}" OUTPUT_VARIABLE found ERROR_VARIABLE reason
    OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${D2DEPLOY_CAFFE2_PYTHON} has no torch: d2deploy caffe2-runtime makes one. ${reason}")
  endif()
  set(D2DEPLOY_CAFFE2_TORCH "${D2DEPLOY_CAFFE2_PYTHON};${found}"
    CACHE INTERNAL "Python; its torch; whether that has the new std::string")
  list(POP_FRONT found torch_folder has_new_string)
endif()
if(NOT EXISTS "${torch_folder}/include/caffe2/core/workspace.h")
  message(FATAL_ERROR "${torch_folder} has no Caffe2: make a Python with it by d2deploy caffe2-runtime.")
endif()

# Fetched once, by pip, which compares the hash before it opens the file.
set(protobuf "${D2DEPLOY_PROTOBUF_HEADERS}")
if(NOT protobuf)
  set(place "${CMAKE_CURRENT_BINARY_DIR}/protobuf")
  set(protobuf "${place}/grpcio-tools-1.29.0/third_party/protobuf/src")
  if(NOT EXISTS "${protobuf}/google/protobuf/message.h")
    execute_process(
      COMMAND "${D2DEPLOY_CAFFE2_PYTHON}" -m pip download --quiet --no-deps --no-binary grpcio-tools --require-hashes
        --requirement "${CMAKE_CURRENT_LIST_DIR}/protobuf.txt" --dest "${place}"
      RESULT_VARIABLE failed ERROR_VARIABLE reason)
    if(failed)
      message(FATAL_ERROR "protobuf's headers could not be fetched: set D2DEPLOY_PROTOBUF_HEADERS to 3.11's. ${reason}")
    endif()
    file(ARCHIVE_EXTRACT INPUT "${place}/grpcio-tools-1.29.0.tar.gz" DESTINATION "${place}"
      PATTERNS "*/third_party/protobuf/src/google/*")
  endif()
endif()
if(NOT EXISTS "${protobuf}/google/protobuf/message.h")
  message(FATAL_ERROR "${protobuf} has no google/protobuf/message.h: set D2DEPLOY_PROTOBUF_HEADERS to such a folder.")
endif()

# client.cpp once more, as this std::string is part of all that is handed to and fro.
add_executable(d2deploy_caffe2 caffe2/main.cpp client.cpp)
target_compile_definitions(d2deploy_caffe2 PRIVATE _GLIBCXX_USE_CXX11_ABI=${has_new_string})
target_include_directories(d2deploy_caffe2 PRIVATE caffe2)
target_include_directories(d2deploy_caffe2 SYSTEM PRIVATE "${torch_folder}/include" "${protobuf}")
# Not protobuf's own library: what Caffe2 has of it is hidden inside of it, and nothing here calls it directly.
foreach(name torch_cpu c10)
  target_link_libraries(d2deploy_caffe2 PRIVATE
    "${torch_folder}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}${name}${CMAKE_SHARED_LIBRARY_SUFFIX}")
endforeach()
target_link_libraries(d2deploy_caffe2 PRIVATE d2deploy_shared)
