# SPDX-License-Identifier: MIT
# metalsim_image(): shaders to an image that the simulator runs. Needs clang 19 (C++ with
# the address spaces of OpenCL) and Python 3; METALSIM_FOUND says whether they are there.
find_program(METALSIM_CXX NAMES clang++-19)
find_package(Python3 3.8 QUIET COMPONENTS Interpreter)
set(METALSIM_FOUND OFF)
if(METALSIM_CXX AND Python3_FOUND AND
   NOT MNT_SANITIZE MATCHES "thread|memory" AND # they do not know the fibers
   CMAKE_SYSTEM_NAME STREQUAL Linux AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|aarch64")
    set(METALSIM_FOUND ON)
endif()
set(METALSIM_KIND plain) # of an image that names none
if(MNT_SANITIZE MATCHES address)
    set(METALSIM_KIND asan)
endif()
set(METALSIM_DIR ${CMAKE_CURRENT_LIST_DIR})
cmake_path(GET METALSIM_DIR PARENT_PATH METALSIM_ROOT)
cmake_path(GET METALSIM_ROOT PARENT_PATH METALSIM_ROOT)

set(METALSIM_FLAGS -std=c++17 -g -fPIC -fvisibility=hidden -ffp-contract=off
    -ffreestanding -nostdinc -nostdinc++
    -Wall -Wextra -Wno-unused-function -Wno-unused-parameter -Werror
    -Wpre-c++17-compat -Wdouble-promotion -Wvla -flax-vector-conversions=none)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64)
    list(APPEND METALSIM_FLAGS -march=x86-64-v3) # fma as one instruction
elseif(CMAKE_CROSSCOMPILING)
    list(APPEND METALSIM_FLAGS --target=aarch64-linux-gnu)
endif()

# metalsim_image(target [KIND plain|race|asan] [INCLUDES dir...] [HEADERS file...]
#                SOURCES file.metal...)
# Makes ${target}.metallib in the current binary folder. KIND: race watches for races and
# accesses outside of bindings; asan has AddressSanitizer and UBSan, and is for a build
# with MNT_SANITIZE=address,undefined, where it is the default. The target's properties METALSIM_IMAGE (the file) and METALSIM_SOURCE (the flattened source) are set.
function(metalsim_image target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "KIND" "INCLUDES;HEADERS;SOURCES")
    if(NOT arg_KIND)
        set(arg_KIND ${METALSIM_KIND})
    endif()
    set(image ${CMAKE_CURRENT_BINARY_DIR}/${target}.metallib)
    set(flat ${CMAKE_CURRENT_BINARY_DIR}/${target}.flat.metal)
    set(cpp ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp)
    set(runtime ${METALSIM_DIR}/shim/image_runtime.c)
    set(flags ${METALSIM_FLAGS} -shared -O2)
    if(arg_KIND STREQUAL race)
        # Every access on its own: no vectors wider than those of the source.
        list(APPEND flags -O1 -fsanitize=thread -fno-vectorize -fno-slp-vectorize
            -mllvm -tsan-instrument-func-entry-exit=0)
        set(runtime ${METALSIM_DIR}/shim/race_runtime.c)
    elseif(arg_KIND STREQUAL asan)
        list(APPEND flags -O1 -fsanitize=address,undefined -fno-sanitize=function -fno-sanitize-recover=all
            -fno-omit-frame-pointer)
        set(runtime ${METALSIM_DIR}/shim/asan_runtime.c)
    endif()
    set(includes)
    foreach(dir IN LISTS arg_INCLUDES)
        list(APPEND includes -I ${dir})
    endforeach()
    set(tools ${METALSIM_ROOT}/shaders/tools)
    file(GLOB shim CONFIGURE_DEPENDS ${METALSIM_DIR}/shim/*.h ${METALSIM_DIR}/shim/*.c)
    set(sources)
    foreach(file IN LISTS arg_SOURCES)
        cmake_path(ABSOLUTE_PATH file NORMALIZE)
        list(APPEND sources ${file})
    endforeach()
    add_custom_command(OUTPUT ${flat}
        COMMAND ${Python3_EXECUTABLE} ${tools}/flatten --root ${METALSIM_ROOT}
            -I ${METALSIM_ROOT}/include ${includes} --depfile ${flat}.d -o ${flat}
            ${sources}
        DEPENDS ${sources} ${arg_HEADERS} ${tools}/flatten
        DEPFILE ${flat}.d VERBATIM)
    add_custom_command(OUTPUT ${cpp} ${cpp}.json
        COMMAND ${Python3_EXECUTABLE} ${tools}/rewrite.py --target host
            --cpp ${METALSIM_CXX} -o ${cpp} --table ${cpp}.json ${flat}
        DEPENDS ${flat} ${tools}/rewrite.py VERBATIM)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}.runtime.o)
    set(shims -isystem ${METALSIM_ROOT}/shaders/shim -isystem ${METALSIM_DIR}/shim)
    add_custom_command(OUTPUT ${image}
        COMMAND ${Python3_EXECUTABLE} ${tools}/lint.py --clang ${METALSIM_CXX} --
            ${METALSIM_FLAGS} ${shims} ${cpp}
        COMMAND ${METALSIM_CXX} -x c -std=gnu11 -O2 -g -fPIC -fvisibility=hidden
            -c ${runtime} -o ${object}
        COMMAND ${METALSIM_CXX} ${flags} ${shims} ${cpp} ${object} -o ${image}
        COMMAND ${Python3_EXECUTABLE} ${METALSIM_DIR}/tools/seal ${image}
        DEPENDS ${cpp} ${shim} ${METALSIM_ROOT}/shaders/shim/metal_stdlib
            ${METALSIM_DIR}/tools/seal ${tools}/lint.py
        COMMENT "Shader image ${target}.metallib (${arg_KIND})" VERBATIM)
    add_custom_target(${target} ALL DEPENDS ${image})
    set_target_properties(${target} PROPERTIES METALSIM_IMAGE ${image}
        METALSIM_SOURCE ${flat})
endfunction()
