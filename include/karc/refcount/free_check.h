/* SPDX-License-Identifier: MIT */
/*
 * free_check.h - is anything still in use inside memory that is about to be freed?
 */
#ifndef KARC_REFCOUNT_FREE_CHECK_H
#define KARC_REFCOUNT_FREE_CHECK_H

#include <karc/base/site.h>
#include <karc/base/types.h>

/**
 * check_freed_memory - report what lies in [@p, @p + @bytes) and must not be freed
 * @what: begins the reports: "kfree", "vfree"
 * @site: who frees, or NULL
 *
 * A lock that some task holds (debug builds), a timer that is armed, a counted object that is
 * alive (machines that track): each is a warning with both places. The timer is stopped and the
 * object forgotten, so that freeing the memory after all does no more harm; a lock cannot be helped.
 *
 * Returns: how many things were found.
 * Context: any. Cost: a look at two small tables; on machines that track a spinlock, too.
 * Model:   Linux's debug_check_no_locks_freed() and debug_check_no_obj_freed().
 */
unsigned int check_freed_memory(const void *p, size_t bytes, const char *what,
				const struct site *site);

#endif
