/* SPDX-License-Identifier: MIT */
/*
 * The session of the metal tests. See session.h.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *image_path, *other_image_path;

static char report[1200];
static int reports;
static char temp[256];

static void note(void *context, const char *rule, const char *text)
{
    (void)context;
    if (reports++ == 0)
        snprintf(report, sizeof report, "%s: %s", rule, text);
}

bool session_main(int argc, char **argv)
{
    if (argc < 3)
        return false;
    image_path = argv[1];
    other_image_path = argv[2];
    metalsim_on_report(note, NULL);
    return true;
}

int session_begin(void **state)
{
    (void)state;
    reports = 0;
    temp[0] = '\0';
    unsetenv("MNT_METALLIB");
    metalsim_configure(NULL);
    return 0;
}

int session_end(void **state)
{
    (void)state;
    char alive[512];
    if (temp[0])
        remove(temp);
    if (reports > 0)
        fail_msg("%d reports, the first: %s", reports, report);
    if (metalsim_alive(alive, sizeof alive) != 0)
        fail_msg("alive: %s", alive);
    assert_int_equal(metalsim_memory_used(), 0);
    return 0;
}

const char *temp_path(const char *name)
{
    if (temp[0])
        remove(temp);
    sup_temp_path(temp, sizeof temp, name);
    return temp;
}

void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < bytes; i++)
        assert_int_not_equal(fputc(data ? ((const unsigned char *)data)[i] : 0, f),
                             EOF);
    assert_int_equal(fclose(f), 0);
}

mnt_device *open_device(const char *backend, const char *force)
{
    mnt_device *dev = NULL;
    mnt_device_desc desc = MNT_DEVICE_DESC(.backend = backend, .force = force);
    MUST(NULL, mnt_device_open(&dev, &desc));
    return dev;
}

void session_open(session *s, const char *backend, const char *force)
{
    const net_spec spec = { .batch = 16 };
    *s = (session){ .dev = open_device(backend, force) };
    MUST(s->dev, mnt_model_create(&s->m, s->dev, NULL));
    MUST(s->dev, mnt_synth_open(&s->d, s->dev, 64, 5, MNT_TRAIN));
    MUST(s->dev, mnt_dataset_shuffle(s->d, 1, 1));
    s->g = net_graph(s->dev, s->m, s->d, &spec, &s->loss);
}

void session_close(session *s)
{
    mnt_graph_destroy(s->g);
    mnt_dataset_close(s->d);
    mnt_model_destroy(s->m);
    mnt_device_close(s->dev);
}

void session_hash(session *s, char hex[65])
{
    sup_model_hash(s->dev, s->m, hex);
}

const char *cpu_hash(void)
{
    static char hex[65];
    if (!hex[0]) {
        session s;
        session_open(&s, "cpu", NULL);
        MUST(s.dev, mnt_graph_run(s.g, STEPS));
        session_hash(&s, hex);
        session_close(&s);
    }
    return hex;
}

void check_trains(const char *backend, const char *force)
{
    session s;
    char hex[65];
    session_open(&s, backend, force);
    MUST(s.dev, mnt_graph_run(s.g, STEPS));
    session_hash(&s, hex);
    session_close(&s);
    assert_string_equal(hex, cpu_hash());
}
