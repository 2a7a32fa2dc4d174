# SPDX-License-Identifier: MIT
# mnt_shared and mnt_static from the objects of lib/ and of each backend; mnt::mnt is one
# of the two. Tests of internals link mnt::mnt_static, where nothing is hidden.

function(mnt_add_library target type)
    add_library(${target} ${type})
    target_link_libraries(${target} PRIVATE
        $<BUILD_INTERFACE:mnt_lib_objects> $<BUILD_INTERFACE:mnt_cpu_objects>
        $<BUILD_INTERFACE:${mnt_gpu_parts}> ${mnt_gpu_libraries}
        Threads::Threads ZLIB::ZLIB PkgConfig::mnt_jansson ${CMAKE_DL_LIBS})
    if(NOT APPLE)
        target_link_libraries(${target} PRIVATE m)
    endif()
    target_include_directories(${target} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    set_target_properties(${target} PROPERTIES OUTPUT_NAME mnt LINKER_LANGUAGE C)
    add_library(mnt::${target} ALIAS ${target})
endfunction()

mnt_add_library(mnt_shared SHARED)
set_target_properties(mnt_shared PROPERTIES
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

mnt_add_library(mnt_static STATIC)
target_compile_definitions(mnt_static INTERFACE MNT_STATIC)

if(BUILD_SHARED_LIBS)
    add_library(mnt::mnt ALIAS mnt_shared)
else()
    add_library(mnt::mnt ALIAS mnt_static)
endif()
