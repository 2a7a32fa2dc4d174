/* SPDX-License-Identifier: MIT */
/* A line that --case or a file of --cases gives: "matmul m=3 n=5 k=4", as --list prints
 * it. */
#ifndef CASE_LINE_H
#define CASE_LINE_H

/* The text behind the op's name, and the op. NULL after a sentence on standard error
 * that begins with `where`, such as "--case": unknown op, malformed word, or a text that
 * the op cannot take. */
const char *case_line_check(const char *where, const char *line, int *op);

#endif
