/* SPDX-License-Identifier: MIT */
/*
 * number.h - numbers on the command line, with errors that say what is wrong
 */
#ifndef KARC_TOOLS_NUMBER_H
#define KARC_TOOLS_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * @text as a number in [min, max] into *@value; otherwise one line on stderr beginning with @who
 * ("karc run: --cpus") and false.
 */
bool number_parse(const char *who, const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* The same for bytes: a suffix K, M, G or T (powers of 1024) is understood. */
bool size_parse(const char *who, const char *text, uint64_t min, uint64_t max, uint64_t *bytes);

#endif
