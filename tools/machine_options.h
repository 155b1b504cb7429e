/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_MACHINE_OPTIONS_H
#define KARC_TOOLS_MACHINE_OPTIONS_H

/*
 * machine_options.h - which machine: the options that several verbs have
 */
#include <getopt.h>
#include <karc/hw/machine.h>
#include <stdint.h>

/* What getopt_long() answers for them. */
enum { MACHINE_OPT_CPUS = 1000, MACHINE_OPT_MODE, MACHINE_OPT_PARALLEL, MACHINE_OPT_SEED };

/* Rows of the table for getopt_long(). */
#define MACHINE_OPTIONS_FIXED							\
	{ "cpus", required_argument, NULL, MACHINE_OPT_CPUS },			\
	{ "seed", required_argument, NULL, MACHINE_OPT_SEED }
#define MACHINE_OPTIONS								\
	MACHINE_OPTIONS_FIXED,							\
	{ "mode", required_argument, NULL, MACHINE_OPT_MODE },			\
	{ "parallel", no_argument, NULL, MACHINE_OPT_PARALLEL }

/* Lines of the help text that say what they do. */
#define MACHINE_OPTIONS_HELP							\
	"  --cpus N       simulated CPUs, 1 to 64 (1)\n"			\
	"  --mode MODE    deterministic: one host thread, the same run for the same seed\n"	\
	"                 (default); parallel: a host thread for each CPU\n"	\
	"  --parallel     the same as --mode parallel\n"			\
	"  --seed N       of the scheduler (1)\n"

struct machine_options {
	unsigned int cpus;
	uint64_t seed;
	enum machine_mode mode;
};

#define MACHINE_OPTIONS_DEFAULT { .cpus = 1, .seed = 1, .mode = MACHINE_DETERMINISTIC }

/**
 * machine_option - take option @c of getopt_long(), whose argument is in optarg
 * @who: begins messages: "karc run"
 *
 * Returns: 1: taken; 0: none of these; -1 after a line that says what is wrong.
 */
int machine_option(const char *who, int c, struct machine_options *opt);

#endif
