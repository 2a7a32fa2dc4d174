/* SPDX-License-Identifier: MIT */
/*
 * Procedural digits: pen strokes through a few points per digit, several ways of
 * writing each, bent, slanted, turned, scaled and moved at random, drawn with a pen of
 * varying width. For programs and tests where MNIST cannot be downloaded.
 *
 * All arithmetic is on integers, lengths in 1/1024: the same bytes on every machine.
 */
#include "dataset.h"

#include <mnt/philox.h>

#define ONE       1024        /* fixed-point 1.0 */
#define SMOOTH    6           /* line segments per span of a curve */
#define STREAM    0x53594E54u /* "SYNT"; the split is added */
#define POINTS    14          /* most points of a stroke */
#define STROKES   3
#define MAX_SYNTH ((int64_t)1 << 24)

typedef struct point {
    int64_t x, y;
} point;

/* Points in a box of 100 x 100, y down; a point given twice is a corner. */
typedef struct stroke {
    int count;
    uint8_t at[POINTS][2];
} stroke;

typedef struct glyph {
    int label;
    stroke strokes[STROKES];
} glyph;

static const glyph glyphs[] = {
    { 0,
      { { 10,
          { { 50, 0 },
            { 24, 12 },
            { 12, 50 },
            { 24, 88 },
            { 50, 100 },
            { 76, 88 },
            { 88, 50 },
            { 76, 12 },
            { 50, 0 },
            { 34, 6 } } } } },
    { 0,
      { { 9,
          { { 64, 6 },
            { 40, 2 },
            { 22, 30 },
            { 20, 68 },
            { 42, 98 },
            { 68, 88 },
            { 80, 52 },
            { 72, 14 },
            { 50, 4 } } } } },
    { 1, { { 2, { { 50, 0 }, { 50, 100 } } } } },
    { 1, { { 4, { { 32, 22 }, { 52, 0 }, { 52, 0 }, { 50, 100 } } } } },
    { 1,
      { { 4, { { 30, 24 }, { 52, 0 }, { 52, 0 }, { 52, 100 } } },
        { 2, { { 28, 99 }, { 76, 99 } } } } },
    { 2,
      { { 10,
          { { 18, 22 },
            { 36, 2 },
            { 64, 2 },
            { 80, 24 },
            { 70, 46 },
            { 42, 74 },
            { 14, 98 },
            { 14, 98 },
            { 50, 96 },
            { 86, 97 } } } } },
    { 2,
      { { 11,
          { { 20, 20 },
            { 44, 0 },
            { 74, 10 },
            { 76, 36 },
            { 52, 66 },
            { 28, 92 },
            { 12, 92 },
            { 16, 78 },
            { 34, 82 },
            { 58, 98 },
            { 90, 90 } } } } },
    { 3,
      { { 11,
          { { 18, 10 },
            { 50, 0 },
            { 76, 16 },
            { 66, 40 },
            { 42, 48 },
            { 42, 48 },
            { 74, 54 },
            { 84, 78 },
            { 60, 98 },
            { 32, 98 },
            { 14, 86 } } } } },
    { 3,
      { { 9,
          { { 18, 4 },
            { 78, 4 },
            { 78, 4 },
            { 44, 42 },
            { 44, 42 },
            { 76, 52 },
            { 82, 78 },
            { 58, 98 },
            { 20, 92 } } } } },
    { 4,
      { { 4, { { 30, 2 }, { 16, 52 }, { 16, 52 }, { 88, 50 } } },
        { 2, { { 68, 4 }, { 62, 100 } } } } },
    { 4,
      { { 6,
          { { 64, 100 },
            { 64, 0 },
            { 64, 0 },
            { 12, 66 },
            { 12, 66 },
            { 90, 64 } } } } },
    { 4,
      { { 5, { { 24, 4 }, { 18, 34 }, { 34, 52 }, { 60, 48 }, { 76, 32 } } },
        { 2, { { 78, 2 }, { 70, 100 } } } } },
    { 5,
      { { 9,
          { { 80, 3 },
            { 28, 3 },
            { 28, 3 },
            { 22, 44 },
            { 22, 44 },
            { 54, 36 },
            { 80, 60 },
            { 70, 90 },
            { 14, 92 } } } } },
    { 5,
      { { 7,
          { { 28, 4 },
            { 22, 44 },
            { 22, 44 },
            { 58, 38 },
            { 80, 66 },
            { 58, 98 },
            { 16, 92 } } },
        { 2, { { 28, 4 }, { 84, 2 } } } } },
    { 6,
      { { 9,
          { { 70, 4 },
            { 40, 18 },
            { 20, 54 },
            { 24, 86 },
            { 48, 100 },
            { 76, 86 },
            { 74, 62 },
            { 48, 54 },
            { 22, 74 } } } } },
    { 6,
      { { 9,
          { { 56, 0 },
            { 30, 30 },
            { 18, 70 },
            { 36, 98 },
            { 66, 94 },
            { 78, 72 },
            { 60, 56 },
            { 34, 64 },
            { 22, 82 } } } } },
    { 7, { { 5, { { 14, 6 }, { 82, 4 }, { 82, 4 }, { 56, 50 }, { 42, 100 } } } } },
    { 7,
      { { 5, { { 14, 6 }, { 82, 4 }, { 82, 4 }, { 56, 50 }, { 42, 100 } } },
        { 2, { { 30, 52 }, { 78, 48 } } } } },
    { 7,
      { { 6,
          { { 14, 22 }, { 18, 6 }, { 18, 6 }, { 82, 6 }, { 82, 6 }, { 46, 100 } } } } },
    { 8,
      { { 12,
          { { 74, 14 },
            { 48, 0 },
            { 24, 18 },
            { 38, 40 },
            { 66, 56 },
            { 80, 80 },
            { 52, 100 },
            { 20, 82 },
            { 34, 56 },
            { 62, 40 },
            { 76, 18 },
            { 56, 2 } } } } },
    { 8,
      { { 5, { { 50, 0 }, { 26, 22 }, { 48, 47 }, { 74, 24 }, { 50, 0 } } },
        { 5, { { 48, 47 }, { 16, 74 }, { 50, 100 }, { 84, 74 }, { 48, 47 } } } } },
    { 9,
      { { 10,
          { { 76, 22 },
            { 52, 0 },
            { 22, 16 },
            { 24, 42 },
            { 52, 52 },
            { 76, 30 },
            { 77, 16 },
            { 77, 16 },
            { 72, 60 },
            { 62, 100 } } } } },
    { 9,
      { { 10,
          { { 74, 24 },
            { 48, 2 },
            { 22, 24 },
            { 38, 50 },
            { 70, 38 },
            { 76, 16 },
            { 76, 16 },
            { 78, 60 },
            { 64, 92 },
            { 28, 96 } } } } },
};

#define GLYPHS ((int)(sizeof glyphs / sizeof *glyphs))

/* Random words of one digit, in the order in which the drawing asks for them. */
typedef struct dice {
    uint32_t key[2], counter[4], word[4];
    int left;
} dice;

static uint32_t roll(dice *d)
{
    if (d->left == 0) {
        mnt_philox(d->counter, d->key, d->word);
        d->counter[2]++;
        d->left = 4;
    }
    return d->word[--d->left];
}

/* In [lo, hi]; the middle is likelier: the mean of two even throws. */
static int64_t between(dice *d, int64_t lo, int64_t hi)
{
    uint32_t span = (uint32_t)(hi - lo) + 1;
    int64_t a = mnt_below(roll(d), span), b = mnt_below(roll(d), span);
    return lo + (a + b) / 2;
}

/* How this writer distorts the box of the digit. All in 1/1024. */
typedef struct hand {
    int64_t bend[4]; /* quadratic terms */
    int64_t sin, cos, shear;
    int64_t half_w, half_h;     /* pixels */
    int64_t shift_x, shift_y;   /* pixels */
    int64_t radius, taper, ink; /* of the pen: pixels, pixels, 0..255 */
} hand;

static hand make_hand(dice *d)
{
    hand h;
    for (int i = 0; i < 4; i++)
        h.bend[i] = between(d, -260, 260);
    int64_t a = between(d, -430, 430); /* radians: sine and cosine by their series */
    int64_t a2 = a * a / ONE;
    h.sin = a - a2 * a / (6 * ONE);
    h.cos = ONE - a2 / 2 + a2 * a2 / (24 * ONE);
    h.shear = between(d, -520, 400);
    h.half_w = between(d, 5000, 10400);
    h.half_h = between(d, 7200, 11000);
    h.shift_x = between(d, -3000, 3000);
    h.shift_y = between(d, -2800, 2800);
    h.radius = between(d, 650, 1750);
    h.taper = between(d, -450, 450);
    h.ink = between(d, 190, 290);
    if (h.ink > 255)
        h.ink = 255;
    return h;
}

/* From the box, -1..1 both ways, to pixels. */
static point place(const hand *h, int64_t u, int64_t v)
{
    int64_t x = u + h->bend[0] * v / ONE * v / ONE + h->bend[1] * u / ONE * v / ONE;
    int64_t y = v + h->bend[2] * u / ONE * u / ONE + h->bend[3] * u / ONE * v / ONE;
    x -= h->shear * y / ONE;
    x = x * h->half_w / ONE;
    y = y * h->half_h / ONE;
    point p = {
        (x * h->cos - y * h->sin) / ONE + h->shift_x + MNTI_DIGIT_SIDE * ONE / 2,
        (x * h->sin + y * h->cos) / ONE + h->shift_y + MNTI_DIGIT_SIDE * ONE / 2
    };
    return p;
}

/* The first and last pixel, in one direction, that a pen of `reach` may touch. */
static int first_pixel(int64_t a, int64_t b, int64_t reach)
{
    int64_t lo = ((a < b ? a : b) - reach) / ONE - 1;
    return lo < 0 ? 0 : lo > MNTI_DIGIT_SIDE ? MNTI_DIGIT_SIDE : (int)lo;
}

static int last_pixel(int64_t a, int64_t b, int64_t reach)
{
    int64_t hi = ((a > b ? a : b) + reach) / ONE + 1;
    return hi < -1 ? -1 : hi >= MNTI_DIGIT_SIDE ? MNTI_DIGIT_SIDE - 1 : (int)hi;
}

static int64_t root(int64_t n)
{
    int64_t r = 0;
    for (int64_t bit = (int64_t)1 << 16; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= n)
            r += bit;
    return r;
}

/* How much of a pixel, 0..1024, a pen of `radius` covers whose centre line runs at the
 * square distance d2 from the pixel's centre. */
static int64_t covered(int64_t d2, int64_t radius)
{
    int64_t outer = radius + ONE / 2, inner = radius - ONE / 2;
    if (d2 >= outer * outer)
        return 0;
    if (inner > 0 && d2 <= inner * inner)
        return ONE;
    int64_t c = outer - root(d2);
    return c > ONE ? ONE : c;
}

static void draw_line(int16_t canvas[MNTI_DIGIT_BYTES], point a, point b,
                      int64_t radius)
{
    int64_t dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    int64_t reach = radius + ONE / 2;
    int x0 = first_pixel(a.x, b.x, reach), x1 = last_pixel(a.x, b.x, reach);
    int y0 = first_pixel(a.y, b.y, reach), y1 = last_pixel(a.y, b.y, reach);
    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            int64_t px = x * ONE + ONE / 2 - a.x, py = y * ONE + ONE / 2 - a.y;
            int64_t along = px * dx + py * dy;
            int64_t t = along <= 0 ? 0 : along >= length2 ? ONE : along * ONE / length2;
            px -= dx * t / ONE;
            py -= dy * t / ONE;
            int64_t c = covered(px * px + py * py, radius);
            int16_t *pixel = &canvas[y * MNTI_DIGIT_SIDE + x];
            if (c > *pixel)
                *pixel = (int16_t)c;
        }
    }
}

/* Catmull and Rom's cubic through b and c, at k / SMOOTH of the way. */
static int64_t spline(int64_t a, int64_t b, int64_t c, int64_t d, int64_t k)
{
    int64_t n = SMOOTH;
    int64_t s = 2 * b * n * n * n;
    s += (c - a) * k * n * n;
    s += (2 * a - 5 * b + 4 * c - d) * k * k * n;
    s += (3 * b - a - 3 * c + d) * k * k * k;
    return s / (2 * n * n * n);
}

static void draw_stroke(int16_t canvas[MNTI_DIGIT_BYTES], const stroke *s,
                        const hand *h, dice *d)
{
    point box[POINTS];
    for (int i = 0; i < s->count; i++) {
        if (i > 0 && s->at[i][0] == s->at[i - 1][0] && s->at[i][1] == s->at[i - 1][1]) {
            box[i] = box[i - 1];
            continue;
        }
        box[i].x = (s->at[i][0] - 50) * ONE / 50 + between(d, -230, 230);
        box[i].y = (s->at[i][1] - 50) * ONE / 50 + between(d, -230, 230);
    }
    int64_t spans = (s->count - 1) * SMOOTH;
    point from = place(h, box[0].x, box[0].y);
    for (int i = 0; i + 1 < s->count; i++) {
        point b = box[i], c = box[i + 1];
        point a = i > 0 ? box[i - 1] : b, e = i + 2 < s->count ? box[i + 2] : c;
        for (int k = 1; k <= SMOOTH; k++) {
            point to =
                place(h, spline(a.x, b.x, c.x, e.x, k), spline(a.y, b.y, c.y, e.y, k));
            int64_t radius = h->radius + h->taper * (i * SMOOTH + k) / spans;
            draw_line(canvas, from, to, radius < 500 ? 500 : radius);
            from = to;
        }
    }
}

/* A short slip of the pen near the edge, on one digit in six. */
static void draw_slip(int16_t canvas[MNTI_DIGIT_BYTES], dice *d)
{
    if (mnt_below(roll(d), 6) != 0)
        return;
    point a = { mnt_below(roll(d), MNTI_DIGIT_SIDE * ONE),
                mnt_below(roll(d), 5 * ONE) };
    if (roll(d) & 1)
        a.y = MNTI_DIGIT_SIDE * ONE - a.y;
    point b = { a.x + between(d, -3 * ONE, 3 * ONE), a.y + between(d, -ONE, ONE) };
    draw_line(canvas, a, b, 700);
}

int mnti_synth_digit(uint64_t seed, mnt_split split, uint64_t index,
                     uint8_t pixels[MNTI_DIGIT_BYTES])
{
    dice d = { .key = { (uint32_t)seed, (uint32_t)(seed >> 32) },
               .counter = { (uint32_t)index, (uint32_t)(index >> 32), 0,
                            STREAM + (split == MNT_TEST ? 1u : 0u) } };
    int label = (int)mnt_below(roll(&d), 10), first = 0, ways = 0;
    for (int i = 0; i < GLYPHS; i++) {
        if (glyphs[i].label < label)
            first++;
        else if (glyphs[i].label == label)
            ways++;
    }
    const glyph *g = &glyphs[first + (int)mnt_below(roll(&d), (uint32_t)ways)];
    hand h = make_hand(&d);
    int16_t canvas[MNTI_DIGIT_BYTES] = { 0 };
    for (int i = 0; i < STROKES && g->strokes[i].count > 0; i++)
        draw_stroke(canvas, &g->strokes[i], &h, &d);
    draw_slip(canvas, &d);
    uint32_t grain = 0;
    for (int i = 0; i < MNTI_DIGIT_BYTES; i++) {
        grain = i % 4 == 0 ? roll(&d) : grain >> 8;
        int64_t ink = h.ink - (int64_t)(grain & 255) * h.ink / 900;
        pixels[i] = (uint8_t)(canvas[i] * ink / ONE);
    }
    return label;
}

mnt_status mnt_synth_open(mnt_dataset **out, mnt_device *dev, int64_t count,
                          uint64_t seed, mnt_split split)
{
    if (!out || !dev)
        return mnti_fail(dev, MNT_INVALID, "synth_open: %s is NULL",
                         out ? "dev" : "out");
    *out = NULL;
    if (split != MNT_TRAIN && split != MNT_TEST)
        return mnti_fail(dev, MNT_INVALID, "synth_open: %d is no split", (int)split);
    if (count < 1 || count > MAX_SYNTH)
        return mnti_fail(dev, MNT_INVALID,
                         "synth_open: count is %lld, not in [1, %lld]",
                         (long long)count, (long long)MAX_SYNTH);
    size_t n = (size_t)count;
    uint8_t *images = mnti_alloc(dev, n * MNTI_DIGIT_BYTES);
    uint8_t *labels = images ? mnti_alloc(dev, n) : NULL;
    mnt_status st;
    if (labels) {
        for (size_t i = 0; i < n; i++)
            labels[i] = (uint8_t)mnti_synth_digit(seed, split, i,
                                                  images + i * MNTI_DIGIT_BYTES);
        st = mnti_dataset_new(out, dev, "synth_open", images, MNT_SHAPE(1, 28, 28),
                              labels, count, 10);
    } else {
        st = mnti_fail(dev, MNT_NO_MEMORY, "synth_open: no memory for %lld digits",
                       (long long)count);
    }
    mnti_free(dev, images);
    mnti_free(dev, labels);
    return st;
}
