/* SPDX-License-Identifier: MIT */
/*
 * driver.c - boot a machine, load one of Linux's own modules on it, say what became of it
 *
 *	driver NAME CPUS MIB MODE LEFT RESULT COMMAND-LINE PARAMETERS
 *
 * Exit status 0: the module's init returned RESULT, nothing warned, and LEFT things are left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/harness/module.h>
#include <karc/karc.h>

struct job {
	const char *name, *params;
};

static long load(void *arg)
{
	struct job *job = arg;
	int err = karc_module_load(KARC_MODULES, job->name, job->params);

	if (!err)
		karc_module_unload(KARC_MODULES, job->name);
	return err;
}

/* What the module said: pr_info() does not go to the console. */
static void print_log(struct machine *m)
{
	struct log_record *record = malloc(sizeof(*record));
	u64 seq = 0;

	while (record && karc_log_read(machine_log(m), &seq, record))
		printf("    %s\n", record->text);
	free(record);
}

int main(int argc, char **argv)
{
	struct machine_config config = { .track = true, .seed = 7, .quiet = true };
	struct machine_counters counters;
	struct machine_result result;
	struct machine *m;
	struct job job;
	unsigned long left, bad;

	if (argc != 9)
		return 2;
	job = (struct job){ argv[1], argv[8] };
	config.nr_cpus = (unsigned int)atoi(argv[2]);
	config.mem_bytes = strtoull(argv[3], NULL, 10) << 20;
	config.mode = strcmp(argv[4], "parallel") ? MACHINE_DETERMINISTIC : MACHINE_PARALLEL;
	config.cmdline = argv[7];
	m = machine_boot(&config);
	if (IS_ERR(m)) {
		fprintf(stderr, "boot: error %ld\n", PTR_ERR(m));
		return 1;
	}
	result = machine_call(m, 0, load, &job);
	counters = machine_counters(m);
	machine_enter(m);
	machine_quiesce(m);
	bad = machine_check(m);
	machine_leave();
	print_log(m);
	left = machine_shutdown(m);
	printf("%s: end %d, value %ld, %lu warnings, %lu violations, %lu left\n", job.name,
	       (int)result.end, result.value, counters.warnings, bad, left);
	return result.end != MACHINE_VALUE || result.value != atol(argv[6]) || counters.warnings ||
	       bad || left != strtoul(argv[5], NULL, 10);
}
