/* SPDX-License-Identifier: MIT */
/* The text of --help. docs/man/mnt-conformance.1.scd says the same at more length. */
#include "options.h"

#include <stdio.h>

static const char what[] =
    "Usage: " OPTIONS_NAME " [--backend NAME|--plugin FILE] [options]\n"
    "       " OPTIONS_NAME " --table CERTIFICATE...\n\n"
    "Judges a backend of libmnt %s: every op, forward and backward, on every kernel\n"
    "variant, against an oracle in double precision and bit by bit against the\n"
    "reference kernels. Writes a certificate, conformance-NAME.json and .md.\n\n";

static const char machine[] =
    "What is judged\n"
    "  --backend NAME      one of those below; default: the first that opens\n"
    "  --plugin FILE       a shared object with mnt_backend_entry()\n"
    "  --device N          which device of the backend, 0 the first\n"
    "  --threads N         threads of the configurations with several (%d)\n"
    "  --force VARIANTS    only this configuration, \"isa=avx2,matmul=ref\"\n"
    "  --mode MODE         only fused, unfused or eager graphs\n\n";

static const char cases[] =
    "Which cases\n"
    "  --op NAME           only this op of the suite, \"graph\" or \"contract\";\n"
    "                      repeatable\n"
    "  --row NAME          only cases whose program holds this op of ops.def\n"
    "  --case LINE         exactly this case, as --list prints it\n"
    "  --cases FILE        exactly the cases of this file, a line each\n"
    "  --generated N       random cases an op (%d), besides those of the table\n"
    "  --seed S            of the random cases and of the order (1)\n"
    "  --share I/N         every N-th case, from the I-th\n"
    "  --budget SECONDS    stop handing out cases then\n"
    "  --big               the contract's checks above 4 GiB too\n"
    "  --repeat N          every configuration of a case N times (1)\n"
    "  --warm              no case of each op as the first thing of a process\n"
    "  --list              print the cases and stop\n\n";

static const char rest[] =
    "How\n"
    "  --jobs N            processes side by side; default: one a processor\n"
    "  --limit SECONDS     a case without a sign of life for so long hangs (120)\n"
    "  --out DIR           where the certificate goes (.)\n"
    "  -q, --quiet         failures and the last line only\n"
    "  -v, --verbose       a line for each configuration of each case\n"
    "  --table             print ops by backends and data types from certificates\n"
    "  -h, --help          this text\n"
    "  -V, --version       versions\n\n";

static const char status[] =
    "Exit status: 0 conforms; 1 does not, or bad input (a sentence on standard\n"
    "error); 2 usage; 130 interrupted.\n";

void help_print(void)
{
    printf(what, mnt_version());
    printf(machine, OPTIONS_THREADS);
    printf(cases, OPTIONS_GENERATED);
    printf("%sBackends here:", rest);
    for (int i = 0; i < mnt_backend_count(); i++)
        printf(" %s", mnt_backend_name(i));
    printf("\n%s", status);
}
