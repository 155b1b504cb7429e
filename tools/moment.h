/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_MOMENT_H
#define KARC_TOOLS_MOMENT_H

/*
 * moment.h - play a scenario or a recording up to a moment, or past all of them
 */
#include "machine_options.h"
#include <karc/karc.h>
#include <stdbool.h>
#include <stdio.h>

/**
 * struct moment_options - which story, and where in it
 * @who:      begins messages: "karc graph"
 * @scenario: its name, or NULL
 * @trace:    path of a recording, or NULL; one of the two
 * @part:     the case of a scenario that has cases, or NULL
 * @at:       the moment, or NULL for the one that says most
 * @touch:    of a recording: enum replay_touch
 * @holders:  the machine remembers who holds each reference
 */
struct moment_options {
	const char *who;
	const char *scenario, *trace, *part;
	const char *at;
	unsigned int touch;
	bool holders;
	struct machine_options machine;
};

/**
 * struct moment - the machine now; for the length of one call
 * @title: "leak: somebody forgets one mmput", or the recording's path
 * @name:  "The child calls exit(7)", or a step's function; "" right after boot
 * @nr:    moments before this one, or the recording's line; 0 right after boot
 * @step:  a room announces a step: in the middle of something
 * @quiet: nothing is under way
 * @over:  the story is over, everything postponed has run
 */
struct moment {
	struct machine *m;
	const char *title;
	const char *name;
	uint64_t nr;
	bool step, quiet, over;
};

/*
 * struct moment_ops - who wants to know
 * @booted: each run has its machine now and nothing has happened (may be NULL)
 * @show:   this is the moment; returns an exit status
 */
struct moment_ops {
	void (*booted)(struct machine *m, void *arg);
	int (*show)(const struct moment *moment, void *arg);
};

/**
 * moment_find - play, and call @ops->show once, at the moment
 *
 * Returns: what it returned; 2 after a line on standard error when there is no such scenario,
 *          recording or moment.
 */
int moment_find(const struct moment_options *opt, const struct moment_ops *ops, void *arg);

/**
 * moment_each - play once and call @each at every moment
 *
 * Right after boot comes first, when everything is over last. At a step nothing may be called that
 * locks or sleeps.
 * Returns: 0, or 2 after a line on standard error.
 */
int moment_each(const struct moment_options *opt,
		void (*each)(const struct moment *moment, void *arg), void *arg);

/* Write the scenario's moments to @out, numbered. 0 or 2. */
int moment_list(const struct moment_options *opt, FILE *out);

#endif
