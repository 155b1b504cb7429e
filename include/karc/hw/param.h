/* SPDX-License-Identifier: MIT */
/*
 * param.h - boot options: the words of machine_config.cmdline
 *
 * "init_on_alloc=1 slab_debug=FZP,kmalloc-64 noaliencache": words separated by blanks, each a name
 * or name=value. In names '-' and '_' are the same. A value may be quoted ("a b"). What
 * follows a word "--" is not the machine's. All of this as Linux reads its command line.
 */
#ifndef KARC_HW_PARAM_H
#define KARC_HW_PARAM_H

#include <karc/base/contract.h>
#include <karc/base/types.h>

struct machine;

/* The text after '=', "" for a word without one, NULL if the option is not there; the last wins. */
const char *boot_param(const struct machine *m, const char *name);

/**
 * boot_param_bool - a switch: 1, y, t, on or the bare word; 0, n, f, off
 *
 * Returns: @value_if_absent also when the text is none of these, after a line on the console.
 */
bool boot_param_bool(struct machine *m, const char *name, bool value_if_absent);

/**
 * boot_param_ulong - a number: decimal, 0x.. or 0.., with K, M or G behind it if need be
 *
 * Errors: -ENOENT: it is not there; -EINVAL, -ERANGE: no such number, after a line on the console.
 *         *@value is unchanged then.
 */
int boot_param_ulong(struct machine *m, const char *name, unsigned long *value);

/**
 * boot_param_bad - say on the console that the value of option @name makes no sense
 * @wanted: what would: "a list of letters"
 */
void boot_param_bad(struct machine *m, const char *name, const char *wanted);

#endif
