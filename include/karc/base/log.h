/* SPDX-License-Identifier: MIT */
/*
 * The message ring: what printk() writes and dmesg would show.
 *
 * Each machine has one.  printk() finds it through the weak function karc_log_hook(); outside a
 * machine it prints to stderr.  Old records make room for new ones; nothing is ever lost in the
 * middle.  The ring holds plain text; colours are the console's business.
 */
#ifndef KARC_BASE_LOG_H
#define KARC_BASE_LOG_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include <karc/base/contract.h>
#include <karc/base/types.h>

/* Levels, as Linux's; a message is prefixed with SOH and the digit. */
#define LOGLEVEL_EMERG 0
#define LOGLEVEL_ALERT 1
#define LOGLEVEL_CRIT 2
#define LOGLEVEL_ERR 3
#define LOGLEVEL_WARNING 4
#define LOGLEVEL_NOTICE 5
#define LOGLEVEL_INFO 6
#define LOGLEVEL_DEBUG 7
#define LOGLEVEL_DEFAULT LOGLEVEL_WARNING
#define LOGLEVEL_CONT (-2)		/* goes on where the last message stopped */

#define KERN_SOH "\001"
#define KERN_EMERG KERN_SOH "0"
#define KERN_ALERT KERN_SOH "1"
#define KERN_CRIT KERN_SOH "2"
#define KERN_ERR KERN_SOH "3"
#define KERN_WARNING KERN_SOH "4"
#define KERN_NOTICE KERN_SOH "5"
#define KERN_INFO KERN_SOH "6"
#define KERN_DEBUG KERN_SOH "7"
#define KERN_DEFAULT ""
#define KERN_CONT KERN_SOH "c"

#define LOG_TEXT_MAX 1024		/* bytes of one record's text, with its final NUL */

struct hostmem_account;

struct log {
	/* Guarded by @lock, a host spin lock: writers may be host threads. */
	char *ring;
	size_t size_bytes;		/* a power of two */
	u64 head, tail;			/* byte positions that only grow: newest, oldest end */
	u64 next_seq, first_seq;	/* numbers of the next and of the oldest record */
	char partial[LOG_TEXT_MAX];	/* a message without its newline yet */
	size_t partial_bytes;
	int partial_level;
	pthread_t partial_writer;
	int lock;

	/* Set by the owner before others write. */
	int console_level;		/* messages below this number are shown at once */
	FILE *console;			/* NULL: nothing is shown */
	bool console_midline;		/* shown last: no newline; under the lock of its FILE */
	struct {
		u64 (*now_ns)(void *arg);	/* NULL: records carry time 0 */
		void *arg;
	} clock;
	struct hostmem_account *account;
};

/* One record, copied out. */
struct log_record {
	u64 seq;
	u64 time_ns;
	int level;
	char text[LOG_TEXT_MAX];	/* one line, no newline at its end */
};

/**
 * karc_log_init - set up a ring of its own memory
 * @size_bytes: room for records, rounded up to a power of two, at least 4096
 *
 * The console is stderr at LOGLEVEL_WARNING: more urgent messages than that show.
 * Errors: -ENOMEM, nothing changed.
 */
KARC_MUST_CHECK int karc_log_init(struct log *log, struct hostmem_account *account,
			     size_t size_bytes);
void karc_log_exit(struct log *log);

/* Appends @text, which may hold several lines; a last line without newline can be continued. */
void karc_log_write(struct log *log, int level, const char *text);

/**
 * karc_log_read - copy out the first record numbered *@seq or later
 * @seq: 0 for the oldest; on success set to the number after the one copied
 *
 * Returns true when there was one.  Records that were overwritten are stepped over, which shows
 * as a gap in record->seq.
 */
bool karc_log_read(struct log *log, u64 *seq, struct log_record *record);

/* Whether a record contains @text; for tests. */
bool karc_log_contains(struct log *log, const char *text);

/* Forgets all records; numbers go on. */
void karc_log_clear(struct log *log);

/* The ring of the machine this thread is in, or NULL; a room above defines it. */
struct log *karc_log_hook(void) __weak;

/* Prints to the current ring; the level is a KERN_ prefix.  Returns the length of the text. */
int printk(const char *fmt, ...) __printf(1, 2);
int vprintk(const char *fmt, va_list args) __printf(1, 0);

#ifndef pr_fmt
#define pr_fmt(fmt) fmt
#endif
#define pr_emerg(fmt, ...) printk(KERN_EMERG pr_fmt(fmt), ##__VA_ARGS__)
#define pr_alert(fmt, ...) printk(KERN_ALERT pr_fmt(fmt), ##__VA_ARGS__)
#define pr_crit(fmt, ...) printk(KERN_CRIT pr_fmt(fmt), ##__VA_ARGS__)
#define pr_err(fmt, ...) printk(KERN_ERR pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn(fmt, ...) printk(KERN_WARNING pr_fmt(fmt), ##__VA_ARGS__)
#define pr_notice(fmt, ...) printk(KERN_NOTICE pr_fmt(fmt), ##__VA_ARGS__)
#define pr_info(fmt, ...) printk(KERN_INFO pr_fmt(fmt), ##__VA_ARGS__)
#define pr_debug(fmt, ...) printk(KERN_DEBUG pr_fmt(fmt), ##__VA_ARGS__)
#define pr_cont(fmt, ...) printk(KERN_CONT fmt, ##__VA_ARGS__)

/* Once on each machine (base/bug.h). */
bool karc_once(const void *key);
#define printk_once(fmt, ...) do {						\
	static const char karc_key_;						\
	if (karc_once(&karc_key_))						\
		printk(fmt, ##__VA_ARGS__);					\
} while (0)
#define pr_err_once(fmt, ...) printk_once(KERN_ERR pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn_once(fmt, ...) printk_once(KERN_WARNING pr_fmt(fmt), ##__VA_ARGS__)
#define pr_notice_once(fmt, ...) printk_once(KERN_NOTICE pr_fmt(fmt), ##__VA_ARGS__)
#define pr_info_once(fmt, ...) printk_once(KERN_INFO pr_fmt(fmt), ##__VA_ARGS__)

#endif
