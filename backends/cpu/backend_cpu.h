/* SPDX-License-Identifier: MIT */
/* The cpu backend's vtable, for the registry. */
#ifndef BACKEND_CPU_H
#define BACKEND_CPU_H

#include <mnt/backend.h>

extern __attribute__((visibility("hidden"))) const mnt_backend cpu_backend;

#endif
