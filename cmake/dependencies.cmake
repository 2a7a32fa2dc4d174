# SPDX-License-Identifier: MIT
# What libmnt links. Included by the build and, installed, by mntConfig.cmake, so both
# name the same targets.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(ZLIB)
find_dependency(PkgConfig)
if(NOT TARGET PkgConfig::mnt_jansson)
    pkg_check_modules(mnt_jansson REQUIRED IMPORTED_TARGET GLOBAL jansson>=2.10)
endif()
