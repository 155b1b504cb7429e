/* SPDX-License-Identifier: MIT */
/*
 * corpus.h - seeded ownership faults and the exact report expected of each
 *
 * A case is a small program with a fault in it and the whole text that a machine of its own then
 * writes on its console, from boot to the last line of shutdown; nothing more and nothing less.
 * What differs between builds is made equal before the comparison:
 *
 *	addresses			ADDR
 *	PID: 7, task call (7)		PID: N, task call (N)
 *	paths of files			their last part
 *	lines of the case		$a, where the case says AT(a) in that line
 *	other lines			N
 *	numbers of fibers		fiber N
 *	sizes				N bytes
 *	frames of call traces		left out; the line "Call Trace:" stays
 *	locks held			left out: only debug builds know them
 *
 * A new case is a function and a row of the table.
 */
#ifndef KARC_TESTS_REFCOUNT_CORPUS_H
#define KARC_TESTS_REFCOUNT_CORPUS_H

#include "fixture.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/room.h>

struct seeded {
	const char *name;
	void (*run)(void);
	const char *expected;
	struct machine_config config;
};

/* ---- what cases use ---- */

#define CORPUS_MARKS	26

/* The marks and the memory of the running case; cases follow each other. */
static struct {
	const char *file;
	unsigned int line[CORPUS_MARKS];
	void *memory[64];
	unsigned int nr_memory;
} corpus;

/* Names the line it stands on: "$a" in the expected text. Usable as (AT(a), expression). */
#define AT(mark) ((void)(corpus.line[(#mark)[0] - 'a'] = __LINE__))

/* In place of an assertion: another line on the console is a difference. */
#define CHECK(condition) do {							\
	if (!(condition))							\
		pr_err("case: not true: %s\n", #condition);			\
} while (0)

/* Zeroed memory that stays until the case is over, so that stale pointers have a target. */
static inline void *corpus_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (!p || corpus.nr_memory == ARRAY_SIZE(corpus.memory))
		abort();
	corpus.memory[corpus.nr_memory++] = p;
	return p;
}

/* An object that owns up to two others. */
struct thing {
	long value;
	struct arc arc;
	struct thing *left, *right;
};

static inline void thing_free(void *obj)
{
	(void)obj;	/* corpus_end() does it */
}

static inline void thing_drop(void *obj)
{
	((struct thing *)obj)->value = -1;
}

#define THING_TYPE(type_name, type_flags, drop_fn, free_fn) { \
	.name = (type_name), .size = sizeof(struct thing), \
	.offset = offsetof(struct thing, arc), .flags = (type_flags), \
	.ops = { .drop = (drop_fn), .free = (free_fn) } }

static const struct arc_type thing_type __maybe_unused =
	THING_TYPE("thing", 0, thing_drop, thing_free);

static inline struct thing *thing_of_site(const struct arc_type *type, const struct site *site)
{
	struct thing *t = corpus_alloc(sizeof(*t));

	CHECK(!arc_type_register(type));
	arc_init_site(&t->arc, type, site);
	return t;
}

#define thing_of(type) thing_of_site((type), SITE())
#define thing_new() thing_of_site(&thing_type, SITE())

/* ---- making texts comparable ---- */

struct corpus_text {
	char *out;
	size_t used, size;
};

static inline void corpus_put(struct corpus_text *t, const char *s, size_t n)
{
	if (t->used + n + 1 > t->size) {
		t->size = 2 * (t->used + n + 1);
		t->out = realloc(t->out, t->size);
		if (!t->out)
			abort();
	}
	memcpy(t->out + t->used, s, n);
	t->used += n;
	t->out[t->used] = '\0';
}

static inline bool corpus_in_path(char c)
{
	return isalnum((unsigned char)c) || strchr("/._-+", c);
}

/* Of a file's name: where its last part begins. */
static inline const char *corpus_last_part(const char *s, const char *end)
{
	const char *part = s;

	for (; s < end; s++)
		if (*s == '/')
			part = s + 1;
	return part;
}

static inline bool corpus_is_own(const char *name, size_t n)
{
	const char *own = corpus_last_part(corpus.file, corpus.file + strlen(corpus.file));

	return strlen(own) == n && !memcmp(own, name, n);
}

/* "path/file.c:12" at @s, up to @end: without the path, the number replaced. */
static inline const char *corpus_put_file(struct corpus_text *t, const char *s, const char *end)
{
	const char *name = corpus_last_part(s, end);
	unsigned int i, line;
	char *after, mark[3] = "N";
	bool own;

	if (*end != ':' || !isdigit((unsigned char)end[1])) {
		corpus_put(t, name, (size_t)(end - name));
		return end;
	}
	line = (unsigned int)strtoul(end + 1, &after, 10);
	own = corpus_is_own(name, (size_t)(end - name));
	for (i = 0; own && i < CORPUS_MARKS; i++)
		if (corpus.line[i] == line)
			snprintf(mark, sizeof(mark), "$%c", (char)('a' + i));
	if (mark[0] == 'N') {
		corpus_put(t, name, (size_t)(end - name));
		corpus_put(t, ":", 1);
	}
	corpus_put(t, mark, strlen(mark));
	return after;
}

static inline const char *corpus_put_word(struct corpus_text *t, const char *s)
{
	const char *end = s;
	char *after;

	if (!strncmp(s, "arena+0x", 8) || !strncmp(s, "0x", 2)) {
		strtoull(strchr(s, 'x') + 1, &after, 16);
		corpus_put(t, "ADDR", 4);
		return after;
	}
	if (!strncmp(s, "fiber ", 6) && isdigit((unsigned char)s[6])) {
		strtoull(s + 6, &after, 10);
		corpus_put(t, "fiber N", 7);
		return after;
	}
	if (!strncmp(s, "PID: ", 5)) {
		strtoull(s + 5, &after, 10);
		corpus_put(t, "PID: N", 6);
		return after;
	}
	while (corpus_in_path(*end))
		end++;
	if (end - s > 2 && (!memcmp(end - 2, ".c", 2) || !memcmp(end - 2, ".h", 2)))
		return corpus_put_file(t, s, end);
	if (end > s && isdigit((unsigned char)*s) && !strncmp(end, " bytes", 6)) {
		corpus_put(t, "N", 1);
		return end;
	}
	if (end == s)
		end++;
	corpus_put(t, s, (size_t)(end - s));
	/* "task call (7)" */
	if (t->used >= 1 && *s == '(' && isdigit((unsigned char)s[1])) {
		strtoull(s + 1, &after, 10);
		if (*after == ')') {
			corpus_put(t, "N", 1);
			return after;
		}
	}
	return end;
}

static inline void corpus_put_line(struct corpus_text *t, const char *s, const char *end)
{
	while (s < end)
		s = corpus_put_word(t, s);
	corpus_put(t, "\n", 1);
}

/* Gives malloc() memory. */
static inline char *corpus_normal(const char *s)
{
	struct corpus_text t = { .out = NULL };
	const char *end, *plus;

	corpus_put(&t, "", 0);
	for (; *s; s = *end ? end + 1 : end) {
		end = s + strcspn(s, "\n");
		plus = strstr(s, "+0x");
		/* " function+0x12/0x34", and what a sanitizer's runtime has no name for */
		if (*s == ' ' && plus && plus < end && strncmp(s, " object:", 8))
			continue;
		if (*s == ' ' && s[1] == '?')
			continue;
		if (!strncmp(s, "  holds ", 8))
			continue;
		corpus_put_line(&t, s, end);
	}
	return t.out;
}

/* ---- running ---- */

static inline long corpus_entry(void *arg)
{
	const struct seeded *s = arg;

	s->run();
	return 0;
}

static inline void corpus_end(void)
{
	while (corpus.nr_memory)
		free(corpus.memory[--corpus.nr_memory]);
	memset(corpus.line, 0, sizeof(corpus.line));
}

/* The rooms up to the one that the test belongs to, as the fixture has them. */
#define X(name) extern const struct room name;
KARC_TEST_ROOMS
#undef X

static const struct room *const corpus_rooms[] = {
#define X(name) &name,
	KARC_TEST_ROOMS
#undef X
};

/* Everything that the machine says about case @s, comparable; malloc() memory. */
static inline char *corpus_report(const struct seeded *s)
{
	struct machine_config config = s->config;
	char *text = NULL, *normal;
	size_t bytes = 0;
	struct machine *m;

	config.console = open_memstream(&text, &bytes);
	config.track = true;
	config.mem_bytes = 16 << 20;
	if (!config.quarantine)
		config.quarantine = 64;
	m = machine_boot_rooms(&config, corpus_rooms, ARRAY_SIZE(corpus_rooms));
	if (!config.console || IS_ERR(m))
		abort();
	machine_call(m, 0, corpus_entry, (void *)s);
	machine_shutdown(m);
	fclose(config.console);
	normal = corpus_normal(text);
	free(text);
	return normal;
}

static inline void corpus_test(void **state)
{
	const struct seeded *s = *state;
	char *report = corpus_report(s);
	bool same = !strcmp(report, s->expected);

	if (!same)
		fprintf(stderr, "case %s\n---- expected:\n%s---- reported:\n%s----\n", s->name,
			s->expected, report);
	corpus_end();
	free(report);
	assert_true(same);
}

/* What a WARNING consists of: its first lines, and the place at which it was given. */
#define WARNED(lines, place) WARNED_NR(lines, place, "1")
#define WARNED_NR(lines, place, nr) \
	"------------[ cut here ]------------\n" \
	lines \
	"WARNING: CPU: 0 PID: N at " place "\n" \
	"CPU: 0 PID: N Comm: call preempt_count: 0\n" \
	"Call Trace:\n" \
	"---[ end trace 000000000000000" nr " ]---\n"

/* Runs the table as CMocka tests, each under its name. */
static inline int corpus_main(struct seeded *cases, unsigned int nr, const char *file)
{
	struct CMUnitTest *tests = calloc(nr, sizeof(*tests));
	unsigned int i;
	int failed;

	if (!tests)
		return 1;
	corpus.file = file;
	for (i = 0; i < nr; i++)
		tests[i] = (struct CMUnitTest){
			.name = cases[i].name, .test_func = corpus_test,
			.initial_state = &cases[i],
		};
	failed = _cmocka_run_group_tests("corpus", tests, nr, NULL, NULL);
	free(tests);
	return failed;
}

#endif
