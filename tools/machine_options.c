/* SPDX-License-Identifier: MIT */
/*
 * machine_options.c - which machine: the options that several verbs have
 */
#include "machine_options.h"
#include "number.h"
#include <stdio.h>
#include <string.h>

static_assert(MACHINE_MAX_CPUS == 64, "MACHINE_OPTIONS_HELP names the number");

static bool take_number(const char *who, const char *option, uint64_t min, uint64_t max,
			uint64_t *value)
{
	char whose[64];

	snprintf(whose, sizeof(whose), "%s: %s", who, option);
	return number_parse(whose, optarg, min, max, value);
}

static bool take_mode(const char *who, enum machine_mode *mode)
{
	if (!strcmp(optarg, "deterministic"))
		*mode = MACHINE_DETERMINISTIC;
	else if (!strcmp(optarg, "parallel"))
		*mode = MACHINE_PARALLEL;
	else
		fprintf(stderr, "%s: --mode: '%s' is neither deterministic nor parallel\n", who,
			optarg);
	return !strcmp(optarg, "deterministic") || !strcmp(optarg, "parallel");
}

int machine_option(const char *who, int c, struct machine_options *opt)
{
	uint64_t cpus;

	switch (c) {
	case MACHINE_OPT_CPUS:
		if (!take_number(who, "--cpus", 1, MACHINE_MAX_CPUS, &cpus))
			return -1;
		opt->cpus = (unsigned int)cpus;
		return 1;
	case MACHINE_OPT_MODE:
		return take_mode(who, &opt->mode) ? 1 : -1;
	case MACHINE_OPT_PARALLEL:
		opt->mode = MACHINE_PARALLEL;
		return 1;
	case MACHINE_OPT_SEED:
		return take_number(who, "--seed", 0, UINT64_MAX, &opt->seed) ? 1 : -1;
	default:
		return 0;
	}
}
