/* SPDX-License-Identifier: MIT */
/*
 * What must hold after karc's and libc's headers of one subject were both included; the test puts
 * each of them first in turn.  Compiled, never run.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

#include <asm/types.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/stat.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/time.h>
#include <linux/types.h>
#include <linux/wait.h>

/* Errors: the system's, libc's additions, karc's. */
static_assert(EPERM == 1 && ENOSYS == 38 && EHWPOISON == 133, "errors of the system");
static_assert(ENOTSUP == EOPNOTSUPP && ECANCELED == 125, "errors that libc adds or checks");
static_assert(ERESTARTSYS == 512 && ENOTSUPP == 524, "errors that stay in the kernel");

/* Limits. */
static_assert(PATH_MAX == 4096 && NAME_MAX == 255, "limits of the system");
static_assert(CHAR_BIT == 8 && INT_MAX == 2147483647, "limits of the compiler");
static_assert(U8_MAX == 255 && S8_MIN == -128 && U16_MAX == UINT16_MAX && S16_MIN == INT16_MIN &&
	      U32_MAX == UINT32_MAX && S32_MAX == INT32_MAX && S32_MIN == INT32_MIN &&
	      U64_MAX == UINT64_MAX && S64_MAX == INT64_MAX && S64_MIN == INT64_MIN,
	      "limits of the kernel's types");

/* Types of the system, of libc and of karc. */
static_assert(sizeof(__u32) == 4 && sizeof(u64) == 8 && sizeof(__le16) == 2, "integers");
static_assert(sizeof(size_t) == 8 && sizeof(struct list_head) == 16, "others");
static_assert(sizeof(atomic_t) == 4, "linux/types.h has atomic_t");
static_assert(offsetof(struct sysinfo, uptime) == 0, "sysinfo() has its struct");

/* Constants that one side has as an enumeration or a macro and the other as well. */
static_assert(WNOHANG == 1 && P_ALL == 0 && P_PGID == 2, "wait");
static_assert(SIGSEGV == 11 && SA_SIGINFO == 4, "signal");
static_assert(S_ISDIR(S_IFDIR) && STATX_BASIC_STATS == 0x7ff, "stat");
static_assert(PROT_EXEC == 4 && MAP_ANONYMOUS == 0x20 && MAP_FIXED_NOREPLACE == 0x100000, "mman");
static_assert(CLONE_VM == 0x100 && TASK_UNINTERRUPTIBLE == 2, "sched");
static_assert(CLOCK_MONOTONIC == 1 && ITIMER_REAL == 0 && NSEC_PER_MSEC == 1000000, "time");
static_assert(SEEK_END == 2 && FMODE_READ == 1, "fs");

struct from_libc {
	struct timespec ts;
	struct timeval tv;
	struct itimerval it;
	struct sigaction sa;
	struct stat st;
	struct statx stx;
	struct sched_param param;
};

static __always_inline int really_inlined(const char *s)
{
	errno = min(ERANGE, max(EDOM, EPERM));
	return (int)strlen(s);
}

int use_everything(const char *s, wait_queue_head_t *wq, struct from_libc *l);

int use_everything(const char *s, wait_queue_head_t *wq, struct from_libc *l)
{
	wake_up(wq);
	memset(l, 0, sizeof(*l));
	return really_inlined(s) + (errno == EDOM);
}
