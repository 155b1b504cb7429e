/* SPDX-License-Identifier: MIT */
/*
 * fixture.c - boot, run, ask, power off, and tell CMocka
 *
 * What it is
 *	A run keeps its findings in a struct run on the host's stack; the assertions reach it
 *	through one pointer, since a failing fiber may be any fiber of the machine, in parallel mode
 *	on any host thread. Nothing is told to CMocka before the machine is gone and the host's stack
 *	is the only one.
 *
 * Life
 *	boot -> machine_call(body) -> quiesce -> every check -> power off -> verdict. After an
 *	assertion failed or the body ended badly the machine is not asked to power off in order,
 *	because locks may be held for ever; its ground is taken away and the rest forgotten.
 */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/inject.h>
#include <karc/hw/trap.h>

#include "hw/internal.h"

#define FAIL_NTH_MAX	10000u
#define QUARANTINE	64u		/* dead objects that reports can name */

#define X(name) extern const struct room name;
KARC_TEST_ROOMS
#undef X

static const struct room *const fixture_rooms[] = {
#define X(name) &name,
	KARC_TEST_ROOMS
#undef X
};

struct run {
	struct machine *m;
	struct fixture_verdict verdict;
	struct machine_counters expected;
	unsigned long warnings_seen;	/* counter at the last expect_warn() */
	u64 warn_seq;			/* log records before this one were looked at */
	void (*body)(void);
	void (*body_state)(void **state);
};

/* The run under way; tests of one process follow each other. */
static struct run *current;

/* What failing fibers write; held for a moment, and nothing of karc is called meanwhile. */
static pthread_mutex_t verdict_lock = PTHREAD_MUTEX_INITIALIZER;

struct machine *fixture_machine(void)
{
	return current ? current->m : NULL;
}

static void add_reason(struct fixture_verdict *v, const char *fmt, ...)
{
	size_t used = strlen(v->reason);
	va_list args;

	va_start(args, fmt);
	vsnprintf(v->reason + used, sizeof(v->reason) - used, fmt, args);
	va_end(args);
	used = strlen(v->reason);
	if (used + 1 < sizeof(v->reason)) {
		v->reason[used] = '\n';
		v->reason[used + 1] = '\0';
	}
	v->red = true;
}

/* ---- failing ---- */

static bool on_a_fiber(void)
{
	return current && current->m && this_machine() == current->m &&
	       !(fiber_flags(fiber_self()) & FIBER_HOST);
}

static void __noreturn end_fiber(void)
{
	fiber_end(MACHINE_EXITED, -1, "assertion failed");
}

void fixture_fail(const char *file, int line, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!on_a_fiber()) {
		print_error("%s\n", text);
		_fail(file, line);
		abort();
	}
	pthread_mutex_lock(&verdict_lock);
	if (!current->verdict.nr_failures++) {
		snprintf(current->verdict.file, sizeof(current->verdict.file), "%s", file);
		current->verdict.line = line;
	}
	add_reason(&current->verdict, "%s:%d: %s", file, line, text);
	pthread_mutex_unlock(&verdict_lock);
	end_fiber();
}

void fixture_skip(const char *file, int line)
{
	if (!on_a_fiber()) {
		_skip(file, line);
		abort();
	}
	WRITE_ONCE(current->verdict.skipped, true);
	end_fiber();
}

void fixture_check_int(unsigned long long a, unsigned long long b, bool equal,
		       const char *a_text, const char *b_text, const char *file, int line)
{
	if ((a == b) != equal)
		fixture_fail(file, line, "%s %s %s: %lld, %lld (0x%llx, 0x%llx)", a_text,
			     equal ? "!=" : "==", b_text, (long long)a, (long long)b, a, b);
}

void fixture_check_string(const char *a, const char *b, bool equal, const char *file, int line)
{
	bool same = a == b || (a && b && !strcmp(a, b));

	if (same != equal)
		fixture_fail(file, line, "\"%s\" %s \"%s\"", a ? a : "(null)", equal ? "!=" : "==",
			     b ? b : "(null)");
}

void fixture_check_memory(const void *a, const void *b, size_t size, bool equal,
			  const char *file, int line)
{
	const unsigned char *x = a, *y = b;
	size_t i = 0;

	while (i < size && x[i] == y[i])
		i++;
	if (equal && i < size)
		fixture_fail(file, line, "memory differs at byte %zu of %zu: 0x%02x, 0x%02x", i,
			     size, x[i], y[i]);
	if (!equal && i == size)
		fixture_fail(file, line, "memory is the same, %zu bytes", size);
}

void fixture_check_range(unsigned long long value, unsigned long long low,
			 unsigned long long high, bool inside, const char *text,
			 const char *file, int line)
{
	if ((value >= low && value <= high) != inside)
		fixture_fail(file, line, "%s = %llu is %s %llu .. %llu", text, value,
			     inside ? "not in" : "in", low, high);
}

void fixture_check_set(unsigned long long value, const unsigned long long *values, size_t nr,
		       bool inside, const char *text, const char *file, int line)
{
	bool found = false;

	for (size_t i = 0; i < nr; i++)
		found = found || values[i] == value;
	if (found != inside)
		fixture_fail(file, line, "%s = %llu is %s the set", text, value,
			     inside ? "not in" : "in");
}

/* ---- expecting ---- */

bool fixture_log_contains(const char *text)
{
	return karc_log_contains(machine_log(current->m), text);
}

/* Do records from *@seq on contain @text? Moves *@seq to the end of the log. */
static bool log_says_since(u64 *seq, const char *text)
{
	struct log *log = machine_log(current->m);
	struct log_record *record = malloc(sizeof(*record));
	bool found = false;

	while (record && karc_log_read(log, seq, record))
		found = found || (text && strstr(record->text, text));
	free(record);
	return found;
}

static const char *end_name(enum machine_end end)
{
	static const char *const names[] = { "returned", "exited", "BUG", "Oops", "stuck" };

	return names[end];
}

void fixture_expect(enum machine_end end, long (*fn)(void *arg), void *arg, const char *text,
		    const char *file, int line)
{
	struct machine_result r;
	u64 seq = READ_ONCE(current->m->log.next_seq);

	r = machine_call(current->m, smp_processor_id(), fn, arg);
	if (r.end != end)
		fixture_fail(file, line, "expected %s \"%s\", but it %s: %s", end_name(end), text,
			     end_name(r.end), r.message);
	if (!strstr(r.message, text) && !log_says_since(&seq, text))
		fixture_fail(file, line, "expected %s \"%s\", got: %s", end_name(end), text,
			     r.message);
	pthread_mutex_lock(&verdict_lock);
	current->expected.bugs += end == MACHINE_BUG;
	current->expected.oopses += end == MACHINE_OOPS;
	current->expected.stucks += end == MACHINE_STUCK;
	pthread_mutex_unlock(&verdict_lock);
}

void fixture_expect_warn(const char *text, const char *file, int line)
{
	unsigned long now = machine_counters(current->m).warnings;
	bool said = log_says_since(&current->warn_seq, text);

	if (!text && now != current->warnings_seen)
		fixture_fail(file, line, "unexpected warning");
	if (text && (now == current->warnings_seen || !said))
		fixture_fail(file, line, "expected warning \"%s\": %lu came%s", text,
			     now - current->warnings_seen, said ? "" : ", none says so");
	current->expected.warnings += now - current->warnings_seen;
	current->warnings_seen = now;
}

/* ---- the fail-nth loop ---- */

static void compare_snapshots(const struct fixture_nth *nth, const u64 *before, unsigned long n,
			      const char *after_what, const char *file, int line)
{
	u64 after[FIXTURE_SNAPSHOT_MAX] = { 0 };

	if (!nth->snapshot)
		return;
	nth->snapshot(nth->arg, after);
	for (unsigned int i = 0; i < FIXTURE_SNAPSHOT_MAX; i++) {
		if (before[i] != after[i])
			fixture_fail(file, line,
				     "fail-nth %lu: after %s, snapshot[%u] is %llu, was %llu", n,
				     after_what, i, after[i], before[i]);
	}
}

unsigned long fixture_nth_loop(const struct fixture_nth *nth, const char *file, int line)
{
	struct machine *m = current->m;

	for (unsigned long n = 1; n <= FAIL_NTH_MAX; n++) {
		u64 before[FIXTURE_SNAPSHOT_MAX] = { 0 };
		bool happened;
		long err;

		if (nth->snapshot)
			nth->snapshot(nth->arg, before);
		inject_arm(m, n);
		err = nth->body(nth->arg);
		happened = inject_disarm(m);
		if (err && !happened)
			fixture_fail(file, line, "fail-nth %lu: failed (%ld) without a cause", n,
				     err);
		if (!err && nth->undo)
			nth->undo(nth->arg);
		if (err || nth->undo)
			compare_snapshots(nth, before, n, err ? "a failure" : "undoing a success",
					  file, line);
		if (!happened)
			return n - 1;
	}
	fixture_fail(file, line, "fail-nth: no end after %u allocations", FAIL_NTH_MAX);
}

/* ---- a run ---- */

static long run_body(void *arg)
{
	struct run *run = arg;
	void *state = NULL;

	if (run->body)
		run->body();
	else
		run->body_state(&state);
	return 0;
}

static void note_left(void *arg, const struct machine_left *left)
{
	struct run *run = arg;

	if (left->site)
		add_reason(&run->verdict, "left: %lu %s, %llu bytes, from %s:%u %s", left->count,
			   left->kind, left->bytes, left->site->file, left->site->line,
			   left->site->func);
	else
		add_reason(&run->verdict, "left: %lu %s, %llu bytes", left->count, left->kind,
			   left->bytes);
}

static void judge_counters(struct run *run)
{
	struct fixture_verdict *v = &run->verdict;
	const struct machine_counters *c = &run->m->counters;

	v->nr_warnings = c->warnings - run->expected.warnings;
	v->nr_bugs = c->bugs - run->expected.bugs + c->oopses - run->expected.oopses +
		     c->stucks - run->expected.stucks;
	if (v->nr_warnings)
		add_reason(v, "%lu unexpected warning(s)", v->nr_warnings);
	if (v->nr_bugs)
		add_reason(v, "%lu unexpected BUG, Oops or stuck", v->nr_bugs);
}

static bool judge_end(struct run *run, const struct machine_result *result)
{
	struct fixture_verdict *v = &run->verdict;

	v->end = result->end;
	snprintf(v->message, sizeof(v->message), "%s", result->message);
	if (result->end != MACHINE_VALUE && result->end != MACHINE_EXITED)
		add_reason(v, "the test ended: %s", result->message);
	return !v->nr_failures && result->end <= MACHINE_EXITED;
}

static void print_log(struct machine *m)
{
	struct log_record *record = malloc(sizeof(*record));
	u64 seq = 0;

	while (record && karc_log_read(machine_log(m), &seq, record))
		print_message("    | %s\n", record->text);
	free(record);
}

static struct machine *boot(const struct machine_config *wanted)
{
	struct machine_config config = { 0 };
	const char *seed = getenv("KARC_TEST_SEED");

	if (wanted)
		config = *wanted;
	config.track = !config.cmdline || !strstr(config.cmdline, "untracked");
	if (!config.quarantine)
		config.quarantine = QUARANTINE;
	config.check_tlb = true;
	config.quiet = true;
	config.holders |= getenv("KARC_TEST_HOLDERS") != NULL;
	if (seed)
		config.seed = strtoull(seed, NULL, 0);
	return machine_boot_rooms(&config, fixture_rooms, ARRAY_SIZE(fixture_rooms));
}

static void run_on_machine(struct run *run, bool show_log)
{
	struct fixture_verdict *v = &run->verdict;
	struct machine *m = run->m;
	struct machine_result result;
	bool orderly;

	machine_on_left(m, note_left, run);
	run->warn_seq = READ_ONCE(m->log.next_seq);
	run->warnings_seen = machine_counters(m).warnings;
	result = machine_call(m, 0, run_body, run);
	orderly = judge_end(run, &result);
	if (orderly) {
		machine_quiesce(m);
		v->nr_violations = machine_check(m);
		if (v->nr_violations)
			add_reason(v, "%lu violation(s) of invariants", v->nr_violations);
		v->nr_left = machine_power_off(m);
	} else {
		machine_ground_down(m);
	}
	if (v->nr_failures)
		v->red = true;
	judge_counters(run);
	if (v->red && show_log)
		print_log(m);
	machine_free(m);
	run->m = NULL;
}

static struct fixture_verdict run_case(struct run *run, const struct machine_config *config,
				       bool show_log)
{
	struct run *outer = current;

	run->m = boot(config);
	if (IS_ERR(run->m)) {
		add_reason(&run->verdict, "the machine does not boot: %ld", PTR_ERR(run->m));
		return run->verdict;
	}
	current = run;
	run_on_machine(run, show_log);
	current = outer;
	return run->verdict;
}

struct fixture_verdict fixture_run_config(const struct machine_config *config,
					  void (*body)(void))
{
	struct run run = { .body = body };

	return run_case(&run, config, false);
}

struct fixture_verdict fixture_run(unsigned int cpus, void (*body)(void))
{
	struct machine_config config = { .nr_cpus = cpus };

	return fixture_run_config(&config, body);
}

struct fixture_verdict fixture_run_parallel(unsigned int cpus, void (*body)(void))
{
	struct machine_config config = { .nr_cpus = cpus, .mode = MACHINE_PARALLEL };

	return fixture_run_config(&config, body);
}

/* KARC_TEST_MODE; the runner sets it under the thread sanitizer. */
static bool mode_is_wanted(enum machine_mode mode)
{
	const char *wanted = getenv("KARC_TEST_MODE");

	return !wanted || !strcmp(wanted, mode == MACHINE_PARALLEL ? "parallel" : "deterministic");
}

void fixture_test(void **state)
{
	const struct fixture_case *c = *state;
	struct machine_config config = { 0 };
	struct run run = { .body_state = c->body };
	struct fixture_verdict v;

	if (c->config)
		config = *c->config;
	config.nr_cpus = c->cpus;
	config.mode = c->mode;
	if (!mode_is_wanted(c->mode))
		_skip(__FILE__, __LINE__);
	v = run_case(&run, &config, true);
	if (v.red) {
		print_error("%s", v.reason);
		_fail(v.nr_failures ? v.file : __FILE__, v.nr_failures ? v.line : __LINE__);
	}
	if (v.skipped)
		_skip(__FILE__, __LINE__);
}
