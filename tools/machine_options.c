/* SPDX-License-Identifier: MIT */
/*
 * machine_options.c - which machine: the options that several verbs have
 */
#include "machine_options.h"
#include "number.h"
#include <karc/hw/physmem.h>
#include <stdio.h>
#include <string.h>

#define MEM_LEAST	(16ULL << 20)
#define MEM_MOST	(1ULL << 40)

/* A PC's memory map, as struct machine_config has it. */
#define PC_HOLE_START	(640ULL << 10)
#define PC_HOLE_END	(1ULL << 20)
#define PC_LOW_END	(3ULL << 30)
#define PC_HIGH_START	(4ULL << 30)

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

static bool take_size(const char *who, const char *option, uint64_t min, uint64_t *bytes)
{
	char whose[64];

	snprintf(whose, sizeof(whose), "%s: %s", who, option);
	if (!size_parse(whose, optarg, min, MEM_MOST, bytes))
		return false;
	*bytes &= ~(uint64_t)(PAGE_SIZE - 1);
	return true;
}

/* Where the @bytes-th byte of a PC's RAM lies: see struct machine_config. */
static phys_addr_t address_of_byte(uint64_t bytes)
{
	if (bytes <= PC_HOLE_START)
		return bytes;
	bytes += PC_HOLE_END - PC_HOLE_START;
	return bytes <= PC_LOW_END ? bytes : bytes - PC_LOW_END + PC_HIGH_START;
}

bool machine_options_config(const char *who, const struct machine_options *opt,
			    uint64_t mem_bytes, struct machine_config *config)
{
	uint64_t lowest;

	config->nr_cpus = opt->cpus;
	config->seed = opt->seed;
	config->mode = opt->mode;
	config->cmdline = opt->cmdline;
	config->nr_nodes = opt->nodes;
	config->mem_bytes = opt->mem_bytes ? opt->mem_bytes : mem_bytes;
	lowest = config->mem_bytes - min(config->mem_bytes, (u64)MEM_LEAST);
	if (opt->highmem_bytes > lowest || opt->movable_bytes > lowest - opt->highmem_bytes) {
		fprintf(stderr, "%s: --highmem and --movable must leave %llu MiB of the %llu\n", who,
			MEM_LEAST >> 20, (unsigned long long)config->mem_bytes >> 20);
		return false;
	}
	if (opt->highmem_bytes)
		config->highmem_start = address_of_byte(config->mem_bytes - opt->highmem_bytes);
	if (opt->movable_bytes)
		config->movable_start = address_of_byte(config->mem_bytes - opt->highmem_bytes -
							opt->movable_bytes);
	return true;
}

int machine_option(const char *who, int c, struct machine_options *opt)
{
	uint64_t cpus, nodes;

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
	case MACHINE_OPT_APPEND:
		opt->cmdline = optarg;
		return 1;
	case MACHINE_OPT_MEM:
		return take_size(who, "--mem", MEM_LEAST, &opt->mem_bytes) ? 1 : -1;
	case MACHINE_OPT_HIGHMEM:
		return take_size(who, "--highmem", 0, &opt->highmem_bytes) ? 1 : -1;
	case MACHINE_OPT_MOVABLE:
		return take_size(who, "--movable", 0, &opt->movable_bytes) ? 1 : -1;
	case MACHINE_OPT_NODES:
		if (!take_number(who, "--nodes", 1, PHYSMEM_MAX_NODES, &nodes))
			return -1;
		opt->nodes = (unsigned int)nodes;
		return 1;
	default:
		return 0;
	}
}
