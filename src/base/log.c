/* SPDX-License-Identifier: MIT */
/*
 * The message ring.
 *
 * What it is: a ring of bytes that holds records, each a header and its text, padded to 8.  A
 * record never wraps: when it does not fit before the end of the ring, a filler takes the rest.
 * Positions are 64-bit byte counts that only grow; modulo the size they are places in the ring.
 *
 * Objects:	log ---owns---> ring	[hdr text][hdr text][filler]
 *					 ^tail               ^head
 *
 * Invariants:
 *   I1  tail <= head <= tail + size; both are multiples of 8.
 *   I2  between tail and head lie whole records, with numbers first_seq .. next_seq - 1.
 *   I3  a message without its newline waits in `partial` and is in no record yet; only the host
 *       thread that began it can continue it, any other message ends it.
 *
 * Locking: `lock`, a host spin lock (writers may be host threads); it is held for copies and
 * never while the console is written or anything is called.  console_midline belongs to the lock
 * of the console's FILE.  Records and console may show messages of two threads in another order.
 *
 * Worst case: writing one record drops at most size / 8 old ones.
 *
 * Unlike Linux: no per-CPU buffers and no NMI safety; a message is longer than LOG_TEXT_MAX
 * only in pieces; records carry no facility and no caller.
 */
#include <karc/base/log.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/base/math.h>

#define RING_MIN 4096
#define FILLER (-1)		/* level of a record that only fills the end of the ring */

struct record_header {
	u64 seq;
	u64 time_ns;
	s32 level;
	u32 text_bytes;		/* without padding; no NUL is stored */
};

/* The smallest piece of ring that can be left over must hold a filler's level and length. */
static_assert(sizeof(struct record_header) % 8 == 0, "records would lose their alignment");

static void log_lock(struct log *log)
{
	while (__atomic_exchange_n(&log->lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void log_unlock(struct log *log)
{
	__atomic_store_n(&log->lock, 0, __ATOMIC_RELEASE);
}

int karc_log_init(struct log *log, struct hostmem_account *account, size_t size_bytes)
{
	size_t size = roundup_pow_of_two(max_t(size_t, size_bytes, RING_MIN));
	char *ring = hostmem_zalloc(account, size);

	if (!ring)
		return -ENOMEM;
	memset(log, 0, sizeof(*log));
	log->ring = ring;
	log->size_bytes = size;
	log->account = account;
	log->console = stderr;
	log->console_level = LOGLEVEL_WARNING;
	return 0;
}

void karc_log_exit(struct log *log)
{
	hostmem_free(log->account, log->ring);
	log->ring = NULL;
}

static struct record_header *header_at(struct log *log, u64 pos)
{
	return (struct record_header *)(log->ring + (pos & (log->size_bytes - 1)));
}

/* Bytes from @pos to the end of the ring. */
static size_t room_before_end(struct log *log, u64 pos)
{
	return log->size_bytes - (pos & (log->size_bytes - 1));
}

/* What a record takes; a piece too short for a header at the ring's end counts as filler. */
static size_t record_bytes(struct log *log, u64 pos)
{
	struct record_header *header = header_at(log, pos);

	if (room_before_end(log, pos) < sizeof(*header) || header->level == FILLER)
		return room_before_end(log, pos);
	return ALIGN(sizeof(*header) + header->text_bytes, 8);
}

static bool is_record(struct log *log, u64 pos)
{
	return room_before_end(log, pos) >= sizeof(struct record_header) &&
	       header_at(log, pos)->level != FILLER;
}

/* Drops old records until @bytes fit behind head. */
static void make_room(struct log *log, size_t bytes)
{
	while (log->head + bytes > log->tail + log->size_bytes) {
		if (is_record(log, log->tail))
			log->first_seq++;
		log->tail += record_bytes(log, log->tail);
	}
}

static void append_record(struct log *log, int level, u64 time_ns, const char *text, size_t len)
{
	size_t bytes = ALIGN(sizeof(struct record_header) + len, 8);
	size_t rest = room_before_end(log, log->head);
	struct record_header *header;

	if (rest < bytes) {
		make_room(log, rest);
		if (rest >= sizeof(*header))
			header_at(log, log->head)->level = FILLER;
		log->head += rest;
	}
	make_room(log, bytes);
	header = header_at(log, log->head);
	header->seq = log->next_seq++;
	header->time_ns = time_ns;
	header->level = level;
	header->text_bytes = len;
	memcpy(header + 1, text, len);
	log->head += bytes;
}

static void flush_partial(struct log *log, u64 time_ns)
{
	if (!log->partial_bytes)
		return;
	append_record(log, log->partial_level, time_ns, log->partial, log->partial_bytes);
	log->partial_bytes = 0;
}

/* Adds one line, or a piece of one, to what waits; full lines become records. */
static void add_piece(struct log *log, int level, u64 time_ns, const char *text, size_t len,
		      bool complete)
{
	size_t n;

	if (!log->partial_bytes) {
		log->partial_level = level;
		log->partial_writer = pthread_self();
	}
	while (len > 0) {
		n = min_t(size_t, len, LOG_TEXT_MAX - 1 - log->partial_bytes);
		memcpy(log->partial + log->partial_bytes, text, n);
		log->partial_bytes += n;
		text += n;
		len -= n;
		if (log->partial_bytes == LOG_TEXT_MAX - 1)
			flush_partial(log, time_ns);
	}
	if (complete)
		flush_partial(log, time_ns);
}

/*
 * What is shown begins on a line of its own unless it goes on where the last message stopped.
 * The console's own lock, which the host sleeps on, keeps a message in one piece.
 */
static void show_on_console(struct log *log, int level, const char *text, bool continues)
{
	if (!log->console || level >= log->console_level || !*text)
		return;
	flockfile(log->console);
	if (READ_ONCE(log->console_midline) && !continues)
		putc('\n', log->console);
	fputs(text, log->console);
	WRITE_ONCE(log->console_midline, text[strlen(text) - 1] != '\n');
	funlockfile(log->console);
}

void karc_log_write(struct log *log, int level, const char *text)
{
	u64 time_ns = log->clock.now_ns ? log->clock.now_ns(log->clock.arg) : 0;
	const char *line = text, *end;
	bool continues;

	log_lock(log);
	continues = level == LOGLEVEL_CONT && log->partial_bytes &&
		    pthread_equal(log->partial_writer, pthread_self());
	if (!continues)
		flush_partial(log, time_ns);
	if (level == LOGLEVEL_CONT)
		level = continues ? log->partial_level : LOGLEVEL_DEFAULT;
	while ((end = strchr(line, '\n')) != NULL) {
		add_piece(log, level, time_ns, line, end - line, true);
		line = end + 1;
	}
	add_piece(log, level, time_ns, line, strlen(line), false);
	log_unlock(log);
	show_on_console(log, level, text, continues);
}

bool karc_log_read(struct log *log, u64 *seq, struct log_record *record)
{
	struct record_header *header;
	u64 pos;

	log_lock(log);
	for (pos = log->tail; pos < log->head; pos += record_bytes(log, pos)) {
		header = header_at(log, pos);
		if (!is_record(log, pos) || header->seq < *seq)
			continue;
		record->seq = header->seq;
		record->time_ns = header->time_ns;
		record->level = header->level;
		memcpy(record->text, header + 1, header->text_bytes);
		record->text[header->text_bytes] = '\0';
		*seq = header->seq + 1;
		log_unlock(log);
		return true;
	}
	log_unlock(log);
	return false;
}

bool karc_log_contains(struct log *log, const char *text)
{
	struct log_record record;
	u64 seq = 0;

	while (karc_log_read(log, &seq, &record))
		if (strstr(record.text, text))
			return true;
	return false;
}

void karc_log_clear(struct log *log)
{
	log_lock(log);
	log->tail = log->head;
	log->first_seq = log->next_seq;
	log->partial_bytes = 0;
	log_unlock(log);
}

/* The level in a KERN_ prefix; *@text steps over it. */
static int parse_level(const char **text)
{
	const char *p = *text;

	if (p[0] != '\001' || !p[1])
		return LOGLEVEL_DEFAULT;
	*text = p + 2;
	if (p[1] >= '0' && p[1] <= '7')
		return p[1] - '0';
	return p[1] == 'c' ? LOGLEVEL_CONT : LOGLEVEL_DEFAULT;
}

int vprintk(const char *fmt, va_list args)
{
	struct log *log = karc_log_hook ? karc_log_hook() : NULL;
	char buffer[LOG_TEXT_MAX];
	const char *text = buffer;
	int level;

	vsnprintf(buffer, sizeof(buffer), fmt, args);
	level = parse_level(&text);
	if (log)
		karc_log_write(log, level, text);
	else
		fputs(text, stderr);
	return strlen(text);
}

int printk(const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vprintk(fmt, args);
	va_end(args);
	return len;
}
