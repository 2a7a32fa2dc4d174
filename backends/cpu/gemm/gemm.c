/* SPDX-License-Identifier: MIT */
/*
 * The kernels of matmul and dense: commands and jobs on one side, gemm.h on the other.
 *
 * "packed": B is packed in phase 0 (into the job's cache when it is a parameter, and
 * then only when that has changed), C is computed in phase 1 in units of a few rows by
 * some panels. A thread that is handed neighbouring units joins them into one block.
 * "small": few rows (or few columns with a transposed A, which is the same of the
 * transposes), one phase, nothing packed; units are ranges of columns.
 */
#include "gemm.h"

#define SMALL_ROWS    32    /* "small" takes no more rows than this, */
#define SMALL_KEPT    11    /* or this, when the packed B could be kept */
#define SMALL_SWAPPED 16    /* "small" takes no more columns of a transposed C */
#define SMALL_COLUMNS 128   /* of a unit of "small" */
#define UNITS_WANTED  64    /* of "packed", if the panels suffice */
#define UNIT_WORK     65536 /* multiply-adds that make a unit worth its overhead */
#define PANELS_SPLIT  4 /* a unit is not narrower than this because of UNITS_WANTED */
#define PANELS_MOST   (2048 / GEMM_NR)

/* What plan() notes in job->i. */
enum {
    AT_TALL,      /* rows of a unit */
    AT_ROW_UNITS, /* units that cover the rows */
    AT_WIDE,      /* panels of a unit */
    AT_PACK_UNITS /* of one of the batch */
};

typedef struct problem {
    int64_t m, n, k, batch;
    bool shared_b; /* one B for the whole batch */
} problem;

static int64_t leading(const mnt_operand *o)
{
    int64_t count = 1;
    for (int d = 0; d + 2 < o->ndim; d++)
        count *= o->dim[d];
    return count;
}

/* The sizes. A batch with one B and untransposed A is one taller product. */
static problem problem_of(const mnt_cmd *cmd)
{
    const mnt_operand *a = &cmd->in[0], *b = &cmd->in[1], *y = &cmd->out[0];
    const bool ta = cmd->args.matmul.ta;
    problem p = { .m = y->dim[y->ndim - 2],
                  .n = y->dim[y->ndim - 1],
                  .k = a->dim[a->ndim - (ta ? 2 : 1)],
                  .batch = leading(y),
                  .shared_b = leading(b) != leading(y) || leading(y) == 1 };
    if (p.shared_b && !ta) {
        p.m *= p.batch;
        p.batch = 1;
    }
    return p;
}

/* The product number `index` of the batch. */
static cpu_gemm product_of(const cpu_job *job, const problem *p, int64_t index)
{
    const mnt_args_matmul *args = &job->cmd->args.matmul;
    const int64_t b_index = p->shared_b ? 0 : index;
    return (cpu_gemm){ .m = p->m,
                       .n = p->n,
                       .k = p->k,
                       .chunk = args->chunk,
                       .a = (const float *)job->in[0] + index * p->m * p->k,
                       .a_row = args->ta ? 1 : p->k,
                       .a_col = args->ta ? p->m : 1,
                       .b = (const float *)job->in[1] + b_index * p->k * p->n,
                       .b_row = args->tb ? 1 : p->n,
                       .b_col = args->tb ? p->k : 1,
                       .c = (float *)job->out[0] + index * p->m * p->n,
                       .c_row = p->n,
                       .c_col = 1,
                       .bias = job->cmd->op == MNT_OP_ID_dense ? job->in[2] : NULL,
                       .relu = job->cmd->op == MNT_OP_ID_dense && args->relu };
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool packed_accepts(const mnt_cmd *cmd)
{
    return cmd->in[0].dtype == MNT_F32 && cmd->in[1].dtype == MNT_F32 &&
           cmd->out[0].dtype == MNT_F32;
}

/*
 * Units: rows first, at least a panel of A and UNIT_WORK; then columns, when the rows
 * give too few units or when B is wide.
 */
static void packed_plan(cpu_job *job)
{
    const problem p = problem_of(job->cmd);
    if (p.m == 0 || p.n == 0 || p.batch == 0) {
        cpu_plan_units(job, 0);
        return;
    }
    const int64_t panels = cpu_gemm_panels(p.n), height = ceil_div(p.m, GEMM_MR);
    const int64_t packs = p.shared_b ? 1 : p.batch;
    const int64_t tile_row = GEMM_MR * least(panels, PANELS_MOST) * GEMM_NR;
    int64_t tall = ceil_div(UNIT_WORK, tile_row * (p.k > 0 ? p.k : 1));
    if (tall < ceil_div(height, UNITS_WANTED))
        tall = ceil_div(height, UNITS_WANTED);
    const int64_t rows = ceil_div(height, tall);
    int64_t wide = PANELS_MOST;
    if (rows * p.batch < UNITS_WANTED) {
        const int64_t split = ceil_div(panels * rows * p.batch, UNITS_WANTED);
        wide = split < PANELS_SPLIT ? PANELS_SPLIT : least(split, PANELS_MOST);
    }
    job->i[AT_TALL] = tall * GEMM_MR;
    job->i[AT_ROW_UNITS] = rows;
    job->i[AT_WIDE] = wide;
    job->i[AT_PACK_UNITS] = CPU_NAME(cpu_gemm_pack_units)(p.n, p.k);
    job->phases = 2;
    job->units[0] = packs * job->i[AT_PACK_UNITS];
    job->units[1] = p.batch * rows * ceil_div(panels, wide);
    const size_t floats = (size_t)(packs * cpu_gemm_packed_floats(p.n, p.k));
    if (job->cmd->in[1].version) {
        job->cache_bytes = floats * sizeof(float);
        job->cache_input = 1;
    } else {
        job->shared_bytes = floats * sizeof(float);
    }
    job->local_bytes =
        (size_t)CPU_NAME(cpu_gemm_scratch_floats)(p.k, job->cmd->args.matmul.chunk) *
        sizeof(float);
}

static float *packed_b(const cpu_job *job)
{
    return (float *)(void *)(job->cache_bytes > 0 ? job->cache : job->shared);
}

static void pack(const cpu_job *job, const problem *p, int64_t begin, int64_t end)
{
    if (job->cache_bytes > 0 && !job->cache_stale)
        return;
    const int64_t each = job->i[AT_PACK_UNITS];
    const int64_t floats = cpu_gemm_packed_floats(p->n, p->k);
    while (begin < end) {
        const int64_t index = begin / each;
        const int64_t stop = least(end, (index + 1) * each);
        const cpu_gemm g = product_of(job, p, index);
        CPU_NAME(cpu_gemm_pack)
        (&g, packed_b(job) + index * floats, begin - index * each, stop - index * each);
        begin = stop;
    }
}

/* Units run fastest over rows, then over columns, then over the batch. */
static void compute(const cpu_job *job, const problem *p, int64_t begin, int64_t end,
                    char *local)
{
    const int64_t rows = job->i[AT_ROW_UNITS], tall = job->i[AT_TALL];
    const int64_t wide = job->i[AT_WIDE], panels = cpu_gemm_panels(p->n);
    const int64_t columns = ceil_div(panels, wide);
    const int64_t floats = cpu_gemm_packed_floats(p->n, p->k);
    while (begin < end) {
        const int64_t group = begin / rows; /* of units in the same columns */
        const int64_t index = group / columns, panel = group % columns * wide;
        const int64_t stop = least(end, (group + 1) * rows);
        const int64_t row = (begin - group * rows) * tall;
        const int64_t row_end = least((stop - group * rows) * tall, p->m);
        const cpu_gemm g = product_of(job, p, index);
        CPU_NAME(cpu_gemm_block)
        (&g, packed_b(job) + (p->shared_b ? 0 : index * floats), row, row_end, panel,
         least(panel + wide, panels), (float *)(void *)local);
        begin = stop;
    }
}

static void packed_run(const cpu_job *job, int phase, int64_t begin, int64_t end,
                       char *local)
{
    const problem p = problem_of(job->cmd);
    if (phase == 0)
        pack(job, &p, begin, end);
    else
        compute(job, &p, begin, end, local);
}

/*
 * Few columns with a transposed A: the product of the transposes has few rows, and its
 * B, which is A, lies as cpu_gemm_few_rows() wants it.
 */
static bool swapped(const mnt_cmd *cmd, const problem *p)
{
    return cmd->args.matmul.ta && p->n <= SMALL_SWAPPED;
}

static cpu_gemm swap(const cpu_gemm *g)
{
    return (cpu_gemm){ .m = g->n,
                       .n = g->m,
                       .k = g->k,
                       .chunk = g->chunk,
                       .a = g->b,
                       .a_row = g->b_col,
                       .a_col = g->b_row,
                       .b = g->a,
                       .b_row = g->a_col,
                       .b_col = g->a_row,
                       .c = g->c,
                       .c_row = g->c_col,
                       .c_col = g->c_row,
                       .row_bias = g->bias,
                       .relu = g->relu };
}

static bool small_accepts(const mnt_cmd *cmd)
{
    if (!packed_accepts(cmd))
        return false;
    const problem p = problem_of(cmd);
    const bool few = p.m <= (cmd->in[1].version ? SMALL_KEPT : SMALL_ROWS);
    return swapped(cmd, &p) || (few && !cmd->args.matmul.tb);
}

/* Units of one of the batch. */
static int64_t small_units(const mnt_cmd *cmd, const problem *p)
{
    return ceil_div(swapped(cmd, p) ? p->m : p->n, SMALL_COLUMNS);
}

static void small_plan(cpu_job *job)
{
    const problem p = problem_of(job->cmd);
    const bool empty = p.m == 0 || p.n == 0;
    cpu_plan_units(job, empty ? 0 : p.batch * small_units(job->cmd, &p));
}

static void small_run(const cpu_job *job, int phase, int64_t begin, int64_t end,
                      char *local)
{
    (void)phase;
    (void)local;
    const problem p = problem_of(job->cmd);
    const int64_t each = small_units(job->cmd, &p);
    while (begin < end) {
        const int64_t index = begin / each;
        const int64_t stop = least(end, (index + 1) * each);
        cpu_gemm g = product_of(job, &p, index);
        if (swapped(job->cmd, &p))
            g = swap(&g);
        CPU_NAME(cpu_gemm_few_rows)
        (&g, (begin - index * each) * SMALL_COLUMNS,
         least((stop - index * each) * SMALL_COLUMNS, g.n));
        begin = stop;
    }
}

const cpu_kernel CPU_NAME(cpu_gemm)[] = {
    { MNT_OP_ID_matmul, "small", small_accepts, small_plan, small_run },
    { MNT_OP_ID_dense, "small", small_accepts, small_plan, small_run },
    { MNT_OP_ID_matmul, "packed", packed_accepts, packed_plan, packed_run },
    { MNT_OP_ID_dense, "packed", packed_accepts, packed_plan, packed_run },
    { 0 },
};
