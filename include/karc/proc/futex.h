/* SPDX-License-Identifier: MIT */
/*
 * futex.h - sleeping on a word of user memory
 */
#ifndef KARC_PROC_FUTEX_H
#define KARC_PROC_FUTEX_H

#include <karc/base/types.h>

#define KARC_FUTEX_WAIT			0
#define KARC_FUTEX_WAKE			1
#define KARC_FUTEX_WAIT_BITSET		9
#define KARC_FUTEX_WAKE_BITSET		10
#define KARC_FUTEX_PRIVATE_FLAG		128
#define KARC_FUTEX_CLOCK_REALTIME	256

/**
 * do_futex - FUTEX_WAIT, FUTEX_WAKE and their _BITSET forms on current's memory
 * @uaddr:      a 4-byte word, aligned
 * @op:         KARC_FUTEX_*; without the private flag a word in a shared mapping of a file is the
 *              same futex for all that map it
 * @val:        WAIT: what the word must hold; WAKE: how many to wake
 * @timeout_ns: virtual time until a WAIT ends by itself; 0: at once; KARC_FUTEX_FOREVER
 * @bitset:     of the _BITSET forms
 *
 * Context: a task, may sleep.
 * Returns: WAIT 0 when woken, -EAGAIN (the word holds something else), -ETIMEDOUT, -ERESTARTSYS; WAKE
 *          how many were woken; -EFAULT, -EINVAL, -ENOSYS (other operations), -ENOMEM.
 */
#define KARC_FUTEX_FOREVER	(~0ULL)
long do_futex(u32 __user *uaddr, int op, u32 val, u64 timeout_ns, u32 bitset);

#endif
