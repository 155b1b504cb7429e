/* SPDX-License-Identifier: MIT */
/*
 * param.c - boot options
 *
 * What it is      The command line, cut once at boot into names and values that stay valid until
 *                 the machine is gone. Rooms ask by name while they come up, or later.
 * Objects         machine->params -> one block: table of words, then the text they point into
 * Invariants      I1 every name and value ends within the block; names are not empty
 * Locking         none: nothing changes after boot but ->asked, which only goes from 0 to 1
 * Worst case      A look-up walks all words.
 * Unlike Linux    Options that no room asked for are named in the log; there is no init program
 *                 to hand them to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/bitops.h>
#include <karc/base/hostmem.h>
#include <karc/hw/param.h>
#include "internal.h"

struct boot_word {
	const char *name;
	const char *value;		/* "" if there is no '=' */
	bool asked;			/* atomic: somebody knows this name */
};

struct boot_params {
	unsigned int nr;
	struct boot_word word[];
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

static bool same_name(const char *a, const char *b)
{
	for (; *a || *b; a++, b++) {
		if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
			return false;
	}
	return true;
}

static unsigned int count_words(const char *text)
{
	unsigned int nr = 0;

	for (; *text; text++)
		nr += !is_blank(*text) && (is_blank(text[1]) || !text[1]);
	return nr;
}

/* Copy one word without its quotes to *@to. Returns what follows it in @from. */
static const char *take_word(const char *from, char **to, char **value)
{
	bool quoted = false;

	*value = NULL;
	for (; *from && (quoted || !is_blank(*from)); from++) {
		if (*from == '"') {
			quoted = !quoted;
		} else if (*from == '=' && !*value) {
			*(*to)++ = '\0';
			*value = *to;
		} else {
			*(*to)++ = *from;
		}
	}
	*(*to)++ = '\0';
	if (!*value)
		*value = *to - 1;
	return from;
}

static void cut(struct boot_params *params, const char *from, char *to)
{
	for (;;) {
		struct boot_word word = { .asked = false };
		char *value;

		while (is_blank(*from))
			from++;
		if (!*from)
			return;
		word.name = to;
		from = take_word(from, &to, &value);
		word.value = value;
		if (!strcmp(word.name, "--"))
			return;
		if (*word.name)
			params->word[params->nr++] = word;
	}
}

int params_init(struct machine *m)
{
	const char *cmdline = m->config.cmdline;
	struct boot_params *params;
	size_t bytes, table;

	if (!cmdline)
		return 0;
	bytes = strlen(cmdline) + 1;
	table = sizeof(*params) + count_words(cmdline) * sizeof(params->word[0]);
	/* The text as it is, then the words: quotes go and a word gains at most its NUL. */
	params = hostmem_zalloc(&m->hostmem, table + 2 * bytes + 1);
	if (!params)
		return -ENOMEM;
	memcpy((char *)params + table, cmdline, bytes);
	cut(params, cmdline, (char *)params + table + bytes);
	m->params = params;
	m->config.cmdline = (char *)params + table;
	return 0;
}

void params_exit(struct machine *m)
{
	hostmem_free(&m->hostmem, m->params);
	m->params = NULL;
	m->config.cmdline = NULL;
}

void params_say_unknown(struct machine *m)
{
	for (unsigned int i = 0; m->params && i < m->params->nr; i++) {
		if (!READ_ONCE(m->params->word[i].asked))
			report_line(m, LOGLEVEL_NOTICE,
				    "Unknown kernel command line parameter \"%s\"",
				    m->params->word[i].name);
	}
}

const char *boot_param(const struct machine *m, const char *name)
{
	const char *value = NULL;

	for (unsigned int i = 0; m->params && i < m->params->nr; i++) {
		struct boot_word *word = &m->params->word[i];

		if (!same_name(word->name, name))
			continue;
		WRITE_ONCE(word->asked, true);
		value = word->value;
	}
	return value;
}

void boot_param_bad(struct machine *m, const char *name, const char *wanted)
{
	report_line(m, LOGLEVEL_ERR, "boot option %s: '%s' is not %s; ignored", name,
		    boot_param(m, name), wanted);
}

static bool is_among(const char *text, const char *const *words, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (!strcmp(text, words[i]))
			return true;
	}
	return false;
}

bool boot_param_bool(struct machine *m, const char *name, bool value_if_absent)
{
	static const char *const yes[] = { "", "1", "y", "Y", "t", "T", "yes", "true", "on", "ON" };
	static const char *const no[] = { "0", "n", "N", "f", "F", "no", "false", "off", "OFF" };
	const char *text = boot_param(m, name);

	if (!text)
		return value_if_absent;
	if (is_among(text, yes, ARRAY_SIZE(yes)))
		return true;
	if (is_among(text, no, ARRAY_SIZE(no)))
		return false;
	boot_param_bad(m, name, "0 or 1");
	return value_if_absent;
}

/* How many bits the letter behind a number shifts it; -1: no such letter. */
static int suffix_shift(const char *end)
{
	if (!*end)
		return 0;
	if (end[1])
		return -1;
	switch (*end) {
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	default:
		return -1;
	}
}

int boot_param_ulong(struct machine *m, const char *name, unsigned long *value)
{
	const char *text = boot_param(m, name);
	unsigned long number;
	char *end;
	int shift;

	if (!text)
		return -ENOENT;
	errno = 0;
	number = strtoul(text, &end, 0);
	shift = suffix_shift(end);
	if (*text < '0' || *text > '9' || shift < 0) {
		boot_param_bad(m, name, "a number");
		return -EINVAL;
	}
	if (errno || number << shift >> shift != number) {
		boot_param_bad(m, name, "a number of 64 bits");
		return -ERANGE;
	}
	*value = number << shift;
	return 0;
}
