# SPDX-License-Identifier: MIT
# Which GPU backends are built, where Python 3 is for the shaders' tools: metal on Apple
# systems; cuda where a clang is that writes PTX; metal over the simulator of
# tests/metalsim when asked. mnt_gpu_parts: their objects and what they link.
# mnt_gpu_libraries: what a program must link beside the static library.
find_program(MNT_CLANGXX NAMES clang++-19 clang++-20 clang++-21
    DOC "clang 19 or newer, for the shaders of cuda and of the metal simulator")
find_package(Python3 3.8 QUIET COMPONENTS Interpreter)
set(metal_default OFF)
if(APPLE AND Python3_FOUND)
    set(metal_default ON)
endif()
option(MNT_METAL "the metal backend; needs Python 3 to build" ${metal_default})
option(MNT_METAL_SIM "the metal backend over a simulated device, for tests" OFF)
set(cuda_default OFF)
if(MNT_CLANGXX AND Python3_FOUND AND CMAKE_SYSTEM_NAME STREQUAL Linux)
    set(cuda_default ON)
endif()
option(MNT_CUDA "the cuda backend; needs clang 19 and Python 3 to build, a driver to run"
    ${cuda_default})

set(mnt_gpu_parts)
set(mnt_gpu_libraries)
if(MNT_CUDA AND NOT MNT_CLANGXX)
    message(FATAL_ERROR "MNT_CUDA needs clang++ 19 or newer: set MNT_CLANGXX "
        "(scripts/install-deps --gpu installs it)")
endif()
if((MNT_METAL OR MNT_METAL_SIM OR MNT_CUDA) AND NOT Python3_FOUND)
    message(FATAL_ERROR "a GPU backend needs Python 3.8 or newer to build; without it: "
        "-DMNT_CUDA=OFF -DMNT_METAL=OFF")
endif()
if(MNT_METAL OR MNT_METAL_SIM OR MNT_CUDA)
    add_subdirectory(backends/gpu)
    list(APPEND mnt_gpu_parts mnt_gpu_objects)
endif()
if(MNT_METAL OR MNT_METAL_SIM)
    add_subdirectory(backends/metal)
    list(APPEND mnt_gpu_parts mnt_metal)
    target_compile_definitions(mnt_lib_objects PRIVATE
        $<IF:$<BOOL:${MNT_METAL_SIM}>,MNT_HAVE_METAL_SIM,MNT_HAVE_METAL>)
    if(NOT MNT_METAL_SIM)
        list(APPEND mnt_gpu_libraries "-framework Metal" "-framework Foundation"
            "-framework CoreGraphics")
    endif()
endif()
if(MNT_CUDA)
    add_subdirectory(backends/cuda)
    list(APPEND mnt_gpu_parts mnt_cuda_objects)
    target_compile_definitions(mnt_lib_objects PRIVATE MNT_HAVE_CUDA)
endif()
