# SPDX-License-Identifier: MIT
# Which GPU backends are built: metal on Apple systems; cuda where a clang is that writes
# PTX; metal over the simulator of tests/metalsim when asked. mnt_gpu_parts: their objects
# and what they link.
find_program(MNT_CLANGXX NAMES clang++-19 clang++-20 clang++-21
    DOC "clang 19 or newer, for the shaders of cuda and of the metal simulator")
option(MNT_METAL "the metal backend" ${APPLE})
option(MNT_METAL_SIM "the metal backend over a simulated device, for tests" OFF)
set(cuda_default OFF)
if(MNT_CLANGXX AND CMAKE_SYSTEM_NAME STREQUAL Linux)
    set(cuda_default ON)
endif()
option(MNT_CUDA "the cuda backend; needs clang 19 to build and a driver to run"
    ${cuda_default})

set(mnt_gpu_parts)
if(MNT_METAL OR MNT_METAL_SIM OR MNT_CUDA)
    find_package(Python3 3.8 REQUIRED COMPONENTS Interpreter)
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
endif()
if(MNT_CUDA)
    add_subdirectory(backends/cuda)
    list(APPEND mnt_gpu_parts mnt_cuda_objects)
    target_compile_definitions(mnt_lib_objects PRIVATE MNT_HAVE_CUDA)
endif()
