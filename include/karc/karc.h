/* SPDX-License-Identifier: MIT */
/*
 * karc.h - the front door: a whole machine, all rooms in it
 *
 *	struct machine *m = machine_boot(NULL);
 *	struct machine_result r = machine_call(m, 0, my_kernel_code, arg);
 *	return machine_shutdown(m) ? 1 : 0;	// 0: nothing leaked
 */
#ifndef KARC_KARC_H
#define KARC_KARC_H

#include <karc/abi.h>
#include <karc/base/err.h>
#include <karc/hw/machine.h>

/* The rooms of the whole house, bottom first; *@nr_rooms gets their number. Static. */
const struct room *const *karc_rooms(unsigned int *nr_rooms);

/* machine_boot() with the hash that the caller was compiled with; use machine_boot(). */
KARC_MUST_CHECK struct machine *karc_boot(const struct machine_config *config, u64 abi_hash);

/**
 * machine_boot - power on a machine with every room
 * @config: NULL for all defaults
 *
 * Gives:   a running machine; end it with machine_shutdown(). The caller is not entered.
 * Context: host thread.
 * Errors:  ERR_PTR: -ENOEXEC when this program was compiled against other layouts or another
 *          build variant than the library (stderr says so), else as machine_boot_rooms().
 */
KARC_MUST_CHECK static inline struct machine *machine_boot(const struct machine_config *config)
{
	return karc_boot(config, karc_abi_hash());
}

/* "0.1.0" */
const char *karc_version(void);

#endif
