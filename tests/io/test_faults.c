/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints when the system fails: every system call of a save and of a load fails in
 * turn (the linker wraps them, see CMakeLists.txt), every allocation, every transfer to
 * the device; the disk fills at every byte; the process is killed. The old file must
 * stay whole, no other file remain, and the next try succeed.
 */
#define _DEFAULT_SOURCE
#include "checkpoint_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- system calls that fail ---- */

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_ERROR,
    FAULT_EINTR,
    FAULT_SHORT
} fault_kind;

static struct {
    bool armed;
    fault_kind kind;
    int error;
    long at, calls;
} faults;

/* Whether this call is the one that fails. */
static fault_kind next_call(void)
{
    if (!faults.armed || faults.calls++ != faults.at)
        return FAULT_NONE;
    errno = faults.kind == FAULT_EINTR ? EINTR : faults.error;
    return faults.kind;
}

static bool fails(void)
{
    fault_kind k = next_call();
    return k == FAULT_ERROR || k == FAULT_EINTR;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, int mode);
int __wrap_open(const char *path, int flags, int mode)
{
    return fails() ? -1 : __real_open(path, flags, mode);
}

ssize_t __real_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n)
{
    fault_kind k = next_call();
    if (k == FAULT_ERROR || k == FAULT_EINTR)
        return -1;
    return __real_read(fd, data, k == FAULT_SHORT && n > 1 ? n / 2 : n);
}

ssize_t __real_pwrite(int fd, const void *data, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *data, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *data, size_t n, off_t at)
{
    fault_kind k = next_call();
    if (k == FAULT_ERROR || k == FAULT_EINTR)
        return -1;
    return __real_pwrite(fd, data, k == FAULT_SHORT && n > 1 ? n / 2 : n, at);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return fails() ? -1 : __real_fsync(fd);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return fails() ? -1 : __real_rename(from, to);
}

/* A failing close() has closed all the same. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    bool bad = fails();
    int error = errno, rc = __real_close(fd);
    errno = error;
    return bad ? -1 : rc;
}

/* ---- the fixture: an old checkpoint, and a model that differs from it ---- */

typedef struct fixture {
    mnt_device *dev;
    mnt_model *model;
    char folder[256], path[512];
    uint8_t *old, *fresh; /* bytes before and after a save of `model` */
    size_t old_size, fresh_size;
} fixture;

static void fixture_open(fixture *f, io_heap *heap)
{
    f->dev = io_open(heap);
    f->model = kit_model(f->dev, MNTI_OPT_SGD);
    io_folder(f->folder);
    io_join(f->path, f->folder, "m");
    MUST(f->dev, mnt_model_set_meta(f->model, "epoch", "4"));
    MUST(f->dev, mnt_model_save(f->model, f->path));
    f->fresh = sup_file(f->path, &f->fresh_size);
    MUST(f->dev, mnt_model_set_meta(f->model, "epoch", "3"));
    MUST(f->dev, mnt_model_save(f->model, f->path));
    f->old = sup_file(f->path, &f->old_size);
    MUST(f->dev, mnt_model_set_meta(f->model, "epoch", "4"));
}

static void fixture_close(fixture *f)
{
    io_remove_folder(f->folder);
    mnt_model_destroy(f->model);
    mnt_device_close(f->dev);
    free(f->old);
    free(f->fresh);
}

static bool holds(const char *path, const uint8_t *bytes, size_t size)
{
    size_t n;
    void *now = sup_file(path, &n);
    bool same = now && n == size && memcmp(now, bytes, size) == 0;
    free(now);
    return same;
}

static int open_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 64; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* After a failed save: the old file, or, where even the rename was done, the new one.
 */
static void assert_intact(const fixture *f, bool renamed)
{
    assert_int_equal(io_count_files(f->folder), 1);
    assert_true(holds(f->path, f->old, f->old_size) ||
                (renamed && holds(f->path, f->fresh, f->fresh_size)));
}

static void save_with_failing_calls(void **state)
{
    (void)state;
    static const struct {
        fault_kind kind;
        int error;
    } kinds[] = { { FAULT_ERROR, EIO },
                  { FAULT_ERROR, ENOSPC },
                  { FAULT_EINTR, 0 },
                  { FAULT_SHORT, 0 } };
    fixture f;
    fixture_open(&f, NULL);
    int files = open_files();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        long n = 0, failed = 0;
        for (bool done = false; !done; n++) {
            io_write(f.path, f.old, f.old_size);
            faults.kind = kinds[k].kind;
            faults.error = kinds[k].error;
            faults.at = n;
            faults.calls = 0;
            faults.armed = true;
            mnt_status st = mnt_model_save(f.model, f.path);
            faults.armed = false;
            done = faults.calls <= n;
            if (st) {
                assert_int_equal(st, MNT_IO);
                assert_non_null(strstr(mnt_last_error(f.dev), f.path));
                assert_intact(&f, true);
                failed++;
            } else {
                assert_true(holds(f.path, f.fresh, f.fresh_size));
            }
            assert_int_equal(open_files(), files);
        }
        assert_true(n > 10);
        /* Interruption and short writes are repaired; only rename() has no retry, and
         * it does not return EINTR. */
        if (kinds[k].kind == FAULT_SHORT)
            assert_int_equal(failed, 0);
        else if (kinds[k].kind == FAULT_EINTR)
            assert_in_range(failed, 0, 1);
        else
            assert_true(failed >= n - 3);
    }
    fixture_close(&f);
}

static void load_with_failing_calls(void **state)
{
    (void)state;
    static const fault_kind kinds[] = { FAULT_ERROR, FAULT_EINTR, FAULT_SHORT };
    fixture f;
    fixture_open(&f, NULL);
    int files = open_files();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        long n = 0, failed = 0;
        for (bool done = false; !done; n++) {
            faults.kind = kinds[k];
            faults.error = EIO;
            faults.at = n;
            faults.calls = 0;
            faults.armed = true;
            mnt_model *m = NULL;
            mnt_status st = mnt_model_load(&m, f.dev, f.path);
            faults.armed = false;
            done = faults.calls <= n;
            assert_int_equal(st != MNT_OK, m == NULL);
            if (st) {
                assert_int_equal(st, MNT_IO);
                failed++;
            }
            mnt_model_destroy(m);
            assert_int_equal(open_files(), files);
        }
        assert_true(kinds[k] == FAULT_ERROR ? failed >= 4 : failed == 0);
    }
    fixture_close(&f);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    io_heap heap = { .fail_at = -1 };
    fixture f;
    fixture_open(&f, &heap);
    for (int load = 0; load < 2; load++) {
        long n = 0;
        for (mnt_status st = MNT_NO_MEMORY; st; n++) {
            long alive = heap.alive;
            mnt_model *m = NULL;
            io_write(f.path, f.old, f.old_size);
            heap.fail_at = heap.calls + n;
            st = load ? mnt_model_load(&m, f.dev, f.path)
                      : mnt_model_save(f.model, f.path);
            heap.fail_at = -1;
            if (st) {
                assert_int_equal(st, MNT_NO_MEMORY);
                assert_intact(&f, false);
            }
            mnt_model_destroy(m);
            assert_int_equal(heap.alive, alive);
        }
        assert_true(n > 10);
    }
    fixture_close(&f);
    assert_int_equal(heap.alive, 0);
}

static void every_transfer_may_fail(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    int n = 0;
    for (mnt_status st = MNT_DEVICE; st; n++) {
        io_write(f.path, f.old, f.old_size);
        io_faults.reads = n;
        st = mnt_model_save(f.model, f.path);
        io_faults.reads = -1;
        assert_true(st == MNT_OK || st == MNT_DEVICE);
        if (st)
            assert_intact(&f, false);
    }
    assert_true(n > 8);
    int *const countdown[] = { &io_faults.writes, &io_faults.allocs };
    const mnt_status want[] = { MNT_DEVICE, MNT_NO_MEMORY };
    for (int i = 0; i < 2; i++) {
        n = 0;
        for (mnt_status st = want[i]; st; n++) {
            mnt_model *m = NULL;
            *countdown[i] = n;
            st = mnt_model_load(&m, f.dev, f.path);
            *countdown[i] = -1;
            assert_true(st == MNT_OK || st == want[i]);
            assert_int_equal(st != MNT_OK, m == NULL);
            mnt_model_destroy(m);
        }
        assert_true(n > 2);
    }
    fixture_close(&f);
}

static void disk_full_at_every_byte(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (size_t n = 0; n <= f.fresh_size; n++) {
        limit = (struct rlimit){ n, before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        mnt_status st = mnt_model_save(f.model, f.path);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        if (n == f.fresh_size) {
            assert_int_equal(st, MNT_OK);
            assert_true(holds(f.path, f.fresh, f.fresh_size));
        } else {
            assert_int_equal(st, MNT_IO);
            assert_non_null(strstr(mnt_last_error(f.dev), "File too large"));
            assert_intact(&f, false);
        }
    }
    signal(SIGXFSZ, handler);
    fixture_close(&f);
}

static void folders_that_cannot_be_written(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char path[512];
    io_join(path, f.path, "below-a-file");
    MUST_FAIL(f.dev, MNT_IO, path, mnt_model_save(f.model, path));
    io_join(path, f.folder, "absent/m");
    MUST_FAIL(f.dev, MNT_IO, path, mnt_model_save(f.model, path));
    MUST_FAIL(f.dev, MNT_IO, f.folder, mnt_model_save(f.model, f.folder));
    MUST_FAIL(f.dev, MNT_IO, "/proc/m", mnt_model_save(f.model, "/proc/m"));
    if (geteuid() != 0) {
        assert_int_equal(chmod(f.folder, 0555), 0);
        MUST_FAIL(f.dev, MNT_IO, f.path, mnt_model_save(f.model, f.path));
        assert_int_equal(chmod(f.folder, 0755), 0);
    }
    assert_intact(&f, false);
    fixture_close(&f);
}

/* Somebody else's file under the temporary name is left alone. */
static void temporary_names_are_not_taken_over(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char temp[600];
    snprintf(temp, sizeof temp, "%s.tmp.%ld", f.path, (long)getpid());
    io_write(temp, "theirs", 6);
    MUST(f.dev, mnt_model_save(f.model, f.path));
    assert_true(holds(f.path, f.fresh, f.fresh_size));
    assert_true(holds(temp, (const uint8_t *)"theirs", 6));
    assert_int_equal(io_count_files(f.folder), 2);
    fixture_close(&f);
}

/* A child saves again and again, alternating between the two contents, until it is
 * killed; whenever that happens, the path is one of them. */
static void killed_while_saving(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    kit_rng rng = { 11 };
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            for (int turn = 0;; turn++)
                if (mnt_model_set_meta(f.model, "epoch", turn & 1 ? "3" : "4") ||
                    mnt_model_save(f.model, f.path))
                    _exit(1);
        usleep((useconds_t)kit_below(&rng, 4000));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_true(holds(f.path, f.old, f.old_size) ||
                    holds(f.path, f.fresh, f.fresh_size));
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(save_with_failing_calls),
        cmocka_unit_test(load_with_failing_calls),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_transfer_may_fail),
        cmocka_unit_test(disk_full_at_every_byte),
        cmocka_unit_test(folders_that_cannot_be_written),
        cmocka_unit_test(temporary_names_are_not_taken_over),
        cmocka_unit_test(killed_while_saving),
    };
    return cmocka_run_group_tests_name("io.faults", tests, NULL, NULL);
}
