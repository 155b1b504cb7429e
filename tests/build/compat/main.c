/* SPDX-License-Identifier: MIT */
/*
 * The host side: boots machines and runs the guest sources beside it on them.  Exit status 0 when
 * every guest was content, no warning was given, and nothing is left.
 */
#include <stdio.h>

#include <karc/karc.h>

long route_run(void *arg);
long scope_run(void *arg);
long session_run(void *arg);
long shelf_run(void *arg);

static const struct guest {
	const char *name;
	long (*run)(void *arg);
} guests[] = {
	{ "shelf", shelf_run },
	{ "session", session_run },
	{ "route", route_run },
	{ "scope", scope_run },
};

static int run_guests(struct machine *m, unsigned int cpu)
{
	struct machine_result result;
	int failed = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(guests); i++) {
		result = machine_call(m, cpu, guests[i].run, NULL);
		if (result.end == MACHINE_VALUE && result.value == 0)
			continue;
		fprintf(stderr, "%s: end %d, value %ld %s\n", guests[i].name, (int)result.end,
			result.value, result.message);
		failed = 1;
	}
	return failed;
}

static int run_machine(unsigned int nr_cpus)
{
	struct machine_config config = { .nr_cpus = nr_cpus, .track = true, .seed = 7 };
	struct machine_counters counters;
	struct machine *m = machine_boot(&config);
	unsigned long left;
	int failed;

	if (IS_ERR(m)) {
		fprintf(stderr, "boot: error %ld\n", PTR_ERR(m));
		return 1;
	}
	failed = run_guests(m, nr_cpus - 1);
	counters = machine_counters(m);
	left = machine_shutdown(m);
	printf("%u CPUs: %s, %lu warnings, %lu left\n", nr_cpus, failed ? "failed" : "ok",
	       counters.warnings, left);
	return failed || counters.warnings || left;
}

int main(void)
{
	return run_machine(1) | run_machine(4);
}
