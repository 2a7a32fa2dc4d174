/* SPDX-License-Identifier: MIT */
/*
 * Modules. A module's image says which kernels it has, with which parameters and for
 * which devices; what runs is the simulator's own image, made from the same source and
 * embedded here. A kernel that the two do not agree on is a report.
 */
#define _GNU_SOURCE
#include "objects.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const unsigned char cudasim_image_data[];
extern const size_t cudasim_image_size;

static sim_image *code; /* loaded once, for the life of the process */

static bool load_code(void)
{
    char error[256];
    if (!code)
        code = sim_image_open_memory(cudasim_image_data, cudasim_image_size, error,
                                     sizeof error);
    if (!code)
        misuse(0, "the image of the kernels: %s", error);
    return code != NULL;
}

static module *module_new(int count)
{
    return calloc(1, sizeof(module) + (size_t)count * sizeof(function));
}

/* The kernel behind an entry point "mnt_NAME". */
static bool function_add(module *m, const char *entry, size_t length)
{
    function *f = &m->function[m->count];
    snprintf(f->name, sizeof f->name, "%.*s", (int)length, entry);
    f->module = m;
    f->code =
        strncmp(f->name, "mnt_", 4) == 0 ? sim_image_find(code, f->name + 4) : NULL;
    if (!f->code) {
        misuse(0, "the module has %s, the simulator's image has not", f->name);
        return false;
    }
    m->count++;
    return true;
}

/* ---- PTX ---- */

/* The newest PTX version, 85 for 8.5, that a driver takes. */
static int newest_ptx(int driver)
{
    static const int of_12[] = { 80, 81, 82, 83, 84, 85, 85, 86, 87, 88 };
    int major = driver / 1000, minor = driver % 1000 / 10;
    if (major < 12)
        return major == 11 ? 70 + minor : 65;
    if (major == 12)
        return of_12[minor > 9 ? 9 : minor];
    return 90 + (major - 13) * 10 + minor;
}

/* Parameter i of an entry: whether its declaration, from `.param` on, is what the
 * kernel takes. */
static bool same_parameter(const sim_function *f, unsigned i, const char *text)
{
    const sim_param *p = sim_function_param(f, i);
    unsigned align, bytes;
    if (!p)
        return false;
    if (!p->reference)
        return strncmp(text, ".param .u64", 11) == 0;
    return sscanf(text, ".param .align %u .b8 %*[A-Za-z0-9_][%u]", &align, &bytes) ==
               2 &&
           bytes == p->bytes && align == p->alignment;
}

static bool same_parameters(const function *f, const char *text, const char *end)
{
    const sim_entry *entry = sim_function_entry(f->code);
    unsigned i = 0;
    while ((text = strstr(text, ".param")) != NULL && text < end) {
        if (!same_parameter(f->code, i++, text)) {
            misuse(0, "%s: parameter %u differs from the simulator's", f->name, i - 1);
            return false;
        }
        text++;
    }
    if (i != entry->params)
        misuse(0, "%s: %u parameters, the simulator's has %u", f->name, i,
               entry->params);
    return i == entry->params;
}

static int parse_ptx(const char *text, module **out)
{
    static const char mark[] = ".visible .entry ";
    int major, minor, target;
    const char *version = strstr(text, ".version "), *at = strstr(text, ".target sm_");
    if (!version || !at || sscanf(version, ".version %d.%d", &major, &minor) != 2 ||
        sscanf(at, ".target sm_%d", &target) != 1)
        return CUDA_ERROR_INVALID_PTX;
    if (major * 10 + minor > newest_ptx(config()->driver_version))
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    if (target > config()->compute)
        return CUDA_ERROR_INVALID_PTX;
    int count = 0;
    for (const char *e = text; (e = strstr(e, mark)) != NULL; e++)
        count++;
    module *m = module_new(count);
    if (!m)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *out = m;
    for (const char *e = text; (e = strstr(e, mark)) != NULL; e++) {
        const char *name = e + sizeof mark - 1, *end = strchr(name, '{');
        if (!end || !function_add(m, name, strcspn(name, "( \n")) ||
            !same_parameters(&m->function[m->count - 1], name, end))
            return CUDA_ERROR_INVALID_PTX;
    }
    return 0;
}

/* ---- cubins ---- */

static int cubin_arch(const Elf64_Ehdr *e)
{
    /* The eighth form of the file has the number one byte higher. */
    return (int)(e->e_flags >> (e->e_ident[EI_ABIVERSION] >= 8 ? 8 : 0) & 0xff);
}

static int parse_cubin(const unsigned char *data, module **out)
{
    Elf64_Ehdr head;
    memcpy(&head, data, sizeof head);
    if (head.e_machine != EM_CUDA)
        return CUDA_ERROR_INVALID_IMAGE;
    int arch = cubin_arch(&head);
    if (arch / 10 != config()->compute / 10 || arch > config()->compute)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    for (int i = 0; i < head.e_shnum; i++) {
        Elf64_Shdr section, strings;
        const unsigned char *table = data + head.e_shoff;
        memcpy(&section, table + (size_t)i * sizeof section, sizeof section);
        if (section.sh_type != SHT_SYMTAB)
            continue;
        memcpy(&strings, table + (size_t)section.sh_link * sizeof strings,
               sizeof strings);
        size_t n = section.sh_size / sizeof(Elf64_Sym);
        module *m = module_new((int)n);
        if (!m)
            return CUDA_ERROR_OUT_OF_MEMORY;
        *out = m;
        for (size_t k = 0; k < n; k++) {
            Elf64_Sym s;
            memcpy(&s, data + section.sh_offset + k * sizeof s, sizeof s);
            const char *name = (const char *)data + strings.sh_offset + s.st_name;
            if (ELF64_ST_TYPE(s.st_info) == STT_FUNC &&
                ELF64_ST_BIND(s.st_info) == STB_GLOBAL &&
                !function_add(m, name, strlen(name)))
                return CUDA_ERROR_INVALID_IMAGE;
        }
        return 0;
    }
    return CUDA_ERROR_INVALID_IMAGE;
}

int module_make(context *c, const void *image, module **out)
{
    module *m = NULL;
    if (!load_code())
        return CUDA_ERROR_UNKNOWN;
    int result = memcmp(image, ELFMAG, SELFMAG) == 0 ? parse_cubin(image, &m)
                                                     : parse_ptx(image, &m);
    if (result != 0) {
        free(m);
        return result;
    }
    object_add(&m->head, MODULE, c);
    *out = m;
    return 0;
}

const function *function_find(const void *p, const context *c)
{
    const object *o = NULL;
    while ((o = object_next(o, MODULE, c)) != NULL) {
        const module *m = (const module *)o;
        for (int i = 0; i < m->count; i++)
            if (p == &m->function[i])
                return &m->function[i];
    }
    return NULL;
}
