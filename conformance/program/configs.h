/* SPDX-License-Identifier: MIT */
/*
 * The configurations under which a case runs on the backend under test: a force string,
 * threads and a mode. The order is: the backend's own choice, the other settings, then
 * each variant forced by name under its setting, fused and unfused.
 */
#ifndef CONFIGS_H
#define CONFIGS_H

#include "subject.h"

typedef struct config {
    char force[SUBJECT_FORCE + 64];
    int threads;
    kit_mode mode;
    int setting;
    int variant;  /* index in the subject; -1: the setting alone */
    int device;   /* configurations of one number share a device */
    bool counted; /* it makes tuples: one a force string */
} config;

typedef struct config_list {
    config *c;
    int count, devices;
} config_list;

void configs_make(config_list *l, const options *o, const subject *s);
void configs_free(config_list *l);
const char *config_mode(const config *c); /* "fused", ... */
/* "cpu (isa=avx2, fused, 2 threads)"; returned. */
const char *config_name(const subject *s, const config *c, char *buf, size_t size);
/* The shell command that runs one case, under one configuration unless c is NULL. */
const char *config_command(const options *o, const subject *s, const config *c,
                           const char *op, const char *text, char *buf, size_t size);

#endif
