/* SPDX-License-Identifier: MIT */
/*
 * valgrind.h - tell Valgrind's memcheck which simulated memory is whose
 *
 * Outside Valgrind, or when karc was built where its headers are not, these do nothing and
 * valgrind_is_here() is false: ask once and remember.
 */
#ifndef KARC_HW_VALGRIND_H
#define KARC_HW_VALGRIND_H

#include <karc/base/types.h>

bool valgrind_is_here(void);

/* Any access is an error; has no defined content yet; is what was written to it. */
void valgrind_noaccess(const void *p, size_t bytes);
void valgrind_undefined(const void *p, size_t bytes);
void valgrind_defined(const void *p, size_t bytes);

/*
 * Errors at addresses in the block say "N bytes inside a <text> of size <bytes>" and show the
 * callers of this call. Returns a number for valgrind_forget_block().
 */
unsigned int valgrind_name_block(const void *p, size_t bytes, const char *text);
void valgrind_forget_block(unsigned int block);

/* Memcheck reports an invalid free of @p here. */
void valgrind_bad_free(const void *p);

/* [low, high) is a stack: moving there is a switch and no huge frame. Returns its number. */
unsigned int valgrind_add_stack(const void *low, const void *high);
void valgrind_drop_stack(unsigned int stack);

#endif
