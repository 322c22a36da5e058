# How the project's own code is compiled: language level, warnings, tools that make builds faster, and the functions with which a
# folder declares its library and its tests.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

set(HOOKWIRE_SANITIZE "" CACHE STRING "Sanitizers for the project's own code, as -fsanitize= takes them")
if(HOOKWIRE_SANITIZE)
  add_compile_options(-fsanitize=${HOOKWIRE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${HOOKWIRE_SANITIZE})
endif()

find_program(HOOKWIRE_CCACHE ccache)
if(HOOKWIRE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness is what ccache asks for before it caches a file that uses a precompiled header.
  set(
    CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND}
    -E
    env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${HOOKWIRE_CCACHE}
  )
endif()

find_program(HOOKWIRE_MOLD mold)
find_program(HOOKWIRE_LLD ld.lld)
if(HOOKWIRE_MOLD)
  # Segments begin at pages of their own. Without that, mold 1.10 may put the first thread-local variable so near the end of a page
  # that RELRO begins on an unmapped one, and the program does not start ("cannot apply additional memory protection").
  add_link_options(-fuse-ld=mold -Wl,-z,separate-code)
elseif(HOOKWIRE_LLD)
  add_link_options(-fuse-ld=lld)
endif()

# Compile options for the project's own code, not for generated and third-party code.
add_library(hookwire_options INTERFACE)
target_compile_options(hookwire_options INTERFACE -Wall -Wextra $<$<BOOL:${HOOKWIRE_WERROR}>:-Werror>)
# No fused multiply-adds where the code has a product and a sum: they would give other bits on other machines.
target_compile_options(hookwire_options INTERFACE -ffp-contract=off)

# hookwire_library(<target> SOURCES <file>... LINK <target>... [PRECOMPILE <header>...])
#
# A static library whose headers are included by their path from the root of the repository ("model/tap/tap.h"); without sources, an
# interface library for a folder of headers. Targets that link it also link what it links. Precompile large headers of other projects;
# each source still includes what it uses.
function(hookwire_library target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK;PRECOMPILE")
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${target} PUBLIC ${arg_LINK} PRIVATE hookwire_options)
    target_precompile_headers(${target} PRIVATE ${arg_PRECOMPILE})
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${target} INTERFACE ${arg_LINK})
  endif()
endfunction()

# hookwire_test(<target> SOURCES <file>... LINK <target>... [LABELS <label>...] [PRECOMPILE <header>...])
#
# A GoogleTest executable that is one test of ctest: a process for each of its cases would spend most of its time loading libtorch.
# The working directory is the root of the repository. Each test computes on one thread, so that tests that run at the same time do not
# compete for cores.
function(hookwire_test target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK;LABELS;PRECOMPILE")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LINK} hookwire_options GTest::gmock GTest::gtest_main)
  list(LENGTH arg_SOURCES n_sources)
  if(n_sources GREATER 3)
    target_precompile_headers(
      ${target}
      PRIVATE <gmock/gmock.h> <gtest/gtest.h> <absl/strings/str_cat.h> ${arg_PRECOMPILE}
    )
  endif()
  add_test(NAME ${target} COMMAND ${target} --gtest_brief=1 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(
    ${target}
    PROPERTIES LABELS "${arg_LABELS}" ENVIRONMENT OMP_NUM_THREADS=1 TIMEOUT 900
  )
endfunction()
