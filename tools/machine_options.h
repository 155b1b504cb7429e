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
enum { MACHINE_OPT_CPUS = 1000, MACHINE_OPT_MODE, MACHINE_OPT_PARALLEL, MACHINE_OPT_SEED,
	MACHINE_OPT_APPEND, MACHINE_OPT_MEM, MACHINE_OPT_NODES, MACHINE_OPT_HIGHMEM,
	MACHINE_OPT_MOVABLE };

/* Rows of the table for getopt_long(). */
#define MACHINE_OPTIONS_FIXED							\
	{ "cpus", required_argument, NULL, MACHINE_OPT_CPUS },			\
	{ "seed", required_argument, NULL, MACHINE_OPT_SEED },			\
	{ "append", required_argument, NULL, MACHINE_OPT_APPEND },		\
	{ "mem", required_argument, NULL, MACHINE_OPT_MEM },			\
	{ "nodes", required_argument, NULL, MACHINE_OPT_NODES },		\
	{ "highmem", required_argument, NULL, MACHINE_OPT_HIGHMEM },		\
	{ "movable", required_argument, NULL, MACHINE_OPT_MOVABLE }
#define MACHINE_OPTIONS								\
	MACHINE_OPTIONS_FIXED,							\
	{ "mode", required_argument, NULL, MACHINE_OPT_MODE },			\
	{ "parallel", no_argument, NULL, MACHINE_OPT_PARALLEL }

/* Lines of the help text that say what they do. */
#define MACHINE_OPTIONS_MEMORY_HELP						\
	"  --mem SIZE     RAM, with K, M, G or T (a scenario: 64M; a recording: as recorded,\n"	\
	"                 64G at most)\n"						\
	"  --nodes N      NUMA nodes, 1 to 8, each with a part of the RAM and of the CPUs (1)\n" \
	"  --highmem SIZE the highest SIZE of the RAM is HIGHMEM: without direct map (0)\n" \
	"  --movable SIZE the highest SIZE below that is ZONE_MOVABLE (0)\n"
#define MACHINE_OPTIONS_HELP							\
	"  --cpus N       simulated CPUs, 1 to 64 (1)\n"			\
	"  --mode MODE    deterministic: one host thread, the same run for the same seed\n"	\
	"                 (default); parallel: a host thread for each CPU\n"	\
	"  --parallel     the same as --mode parallel\n"			\
	"  --seed N       of the scheduler (1)\n"				\
	"  --append TEXT  boot options, as on Linux's command line: \"slab_debug=FZP\"\n"

struct machine_options {
	unsigned int cpus;
	uint64_t seed;
	enum machine_mode mode;
	const char *cmdline;		/* NULL: no boot options */
	uint64_t mem_bytes;		/* 0: the verb's default */
	uint64_t highmem_bytes, movable_bytes;
	unsigned int nodes;		/* 0: one */
};

#define MACHINE_OPTIONS_DEFAULT { .cpus = 1, .seed = 1, .mode = MACHINE_DETERMINISTIC }

/**
 * machine_option - take option @c of getopt_long(), whose argument is in optarg
 * @who: begins messages: "karc run"
 *
 * Returns: 1: taken; 0: none of these; -1 after a line that says what is wrong.
 */
int machine_option(const char *who, int c, struct machine_options *opt);

/**
 * machine_options_config - the machine that was asked for, into @config
 * @mem_bytes: RAM where --mem says nothing
 *
 * Sets CPUs, seed, mode, boot options and everything about memory.
 * Returns: false after a line that says which parts of the memory do not fit.
 */
bool machine_options_config(const char *who, const struct machine_options *opt,
			    uint64_t mem_bytes, struct machine_config *config);

#endif
