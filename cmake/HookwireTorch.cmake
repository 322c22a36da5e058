# Imports the CPU part of the libtorch inside a torch wheel as hookwire::torch.
#
# The wheel's own CMake package needs a CUDA toolkit if the wheel was built with CUDA. hookwired needs none to build, since it opens the
# CUDA part at run time. So libtorch_cpu.so and libc10.so are imported directly. They find the libraries that they need (the wheel's
# libgomp, and for a CUDA wheel libcudart and libcupti from the nvidia wheels) by the RPATH in them. So Python and the daemon run on
# the same kernels.

set(HOOKWIRE_TORCH_MINIMUM 2.11)

set(
  HOOKWIRE_TORCH_ROOT
  ""
  CACHE PATH
  "The torch folder of an installed torch wheel (site-packages/torch); default: the one in .venv"
)
if(NOT HOOKWIRE_TORCH_ROOT)
  file(GLOB _hookwire_torch_found LIST_DIRECTORIES true ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  if(_hookwire_torch_found)
    list(GET _hookwire_torch_found -1 HOOKWIRE_TORCH_ROOT)
  endif()
endif()

set(_hookwire_torch_version_file "${HOOKWIRE_TORCH_ROOT}/version.py")
if(NOT EXISTS "${_hookwire_torch_version_file}")
  message(
    FATAL_ERROR
    "No torch wheel at HOOKWIRE_TORCH_ROOT='${HOOKWIRE_TORCH_ROOT}'. `./run daemon` installs one into .venv; "
    "or pass -DHOOKWIRE_TORCH_ROOT=<site-packages>/torch."
  )
endif()
file(STRINGS "${_hookwire_torch_version_file}" _hookwire_torch_version REGEX "^__version__ = ")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" HOOKWIRE_TORCH_VERSION "${_hookwire_torch_version}")
if(NOT HOOKWIRE_TORCH_VERSION OR HOOKWIRE_TORCH_VERSION VERSION_LESS HOOKWIRE_TORCH_MINIMUM)
  message(
    FATAL_ERROR
    "torch ${HOOKWIRE_TORCH_VERSION} at ${HOOKWIRE_TORCH_ROOT} is too old: Hookwire needs ${HOOKWIRE_TORCH_MINIMUM} or later."
  )
endif()

foreach(_library IN ITEMS torch_cpu c10)
  set(_path "${HOOKWIRE_TORCH_ROOT}/lib/lib${_library}.so")
  if(NOT EXISTS "${_path}")
    message(FATAL_ERROR "The torch wheel at ${HOOKWIRE_TORCH_ROOT} has no lib/lib${_library}.so.")
  endif()
  add_library(hookwire::${_library} SHARED IMPORTED GLOBAL)
  set_target_properties(hookwire::${_library} PROPERTIES IMPORTED_LOCATION "${_path}")
endforeach()

add_library(hookwire::torch INTERFACE IMPORTED GLOBAL)
# The wheel's include folder also holds copies of fmt, protobuf and others: it is searched last, so that the distribution's are found.
target_compile_options(
  hookwire::torch
  INTERFACE
    "SHELL:-idirafter ${HOOKWIRE_TORCH_ROOT}/include"
    "SHELL:-idirafter ${HOOKWIRE_TORCH_ROOT}/include/torch/csrc/api/include"
)
target_link_libraries(hookwire::torch INTERFACE hookwire::torch_cpu hookwire::c10)

# hookwire::torch_openmp: for our own loops on libtorch's threads. at::parallel_for is a template, which is compiled here, and is a plain
# loop without OpenMP. The OpenMP runtime is the wheel's (its file name may contain a hash), so that the process has only one. With
# ThreadSanitizer, which does not understand that runtime's barriers, there is no OpenMP, and the loop is plain.
add_library(hookwire::torch_openmp INTERFACE IMPORTED GLOBAL)
file(GLOB _hookwire_gomp "${HOOKWIRE_TORCH_ROOT}/lib/libgomp*.so*" "${HOOKWIRE_TORCH_ROOT}/../torch.libs/libgomp*.so*")
if(HOOKWIRE_SANITIZE MATCHES thread)
  message(STATUS "ThreadSanitizer: loops of our own run on one thread")
elseif(_hookwire_gomp AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(GET _hookwire_gomp 0 _hookwire_gomp)
  target_compile_options(hookwire::torch_openmp INTERFACE -fopenmp)
  target_link_libraries(hookwire::torch_openmp INTERFACE "${_hookwire_gomp}")
  message(STATUS "OpenMP runtime ${_hookwire_gomp}")
else()
  message(
    WARNING
    "No g++, or no libgomp in the torch wheel: products of float32 on the CPU will be computed on one thread."
  )
endif()

message(STATUS "torch ${HOOKWIRE_TORCH_VERSION} at ${HOOKWIRE_TORCH_ROOT}")
