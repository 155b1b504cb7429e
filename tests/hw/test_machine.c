/* SPDX-License-Identifier: MIT */
/*
 * Goal: power on and off in all shapes, and nothing remains of it. Method: machines booted by
 * hand, counted in the host's own books (/proc/self); rooms of the test's own that fail, leak
 * and drain on request; a child process where a BUG of the host fiber is meant to abort.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>

#define NR_BOOTS	200

static const struct room *const only_hw[] = { &hw_room };

static struct machine *boot_quiet(unsigned int cpus, u64 seed)
{
	struct machine_config config = { .nr_cpus = cpus, .quiet = true, .seed = seed };
	struct machine *m = machine_boot_rooms(&config, only_hw, 1);

	assert_false(IS_ERR(m));
	return m;
}

/* ---- the host's books ---- */

static unsigned int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned int nr = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		nr += c == '\n';
	fclose(f);
	return nr;
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	assert_non_null(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static long seven(void *arg)
{
	(void)arg;
	return 7;
}

static void boot_and_shutdown(void)
{
	struct machine *m = boot_quiet(4, 1);

	assert_int_equal(machine_call(m, 2, seven, NULL).value, 7);
	assert_int_equal(machine_shutdown(m), 0);
}

static void two_hundred_machines_in_a_row_leave_nothing(void **state)
{
	unsigned int maps, fds;

	(void)state;
	for (int i = 0; i < 10; i++)
		boot_and_shutdown();
	maps = count_maps();
	fds = count_fds();
	for (int i = 0; i < NR_BOOTS; i++)
		boot_and_shutdown();
	assert_int_equal(count_fds(), fds);
	/* A sanitizer's allocator maps as it likes; a machine has 20 mappings at least. */
	assert_in_range(count_maps(), 0, maps + NR_BOOTS / 2);
#if KARC_VARIANT < KARC_VARIANT_ASAN
	assert_in_range(count_maps(), 0, maps + 2);
#endif
}

/* ---- configuration ---- */

static long boot_error(const struct machine_config *config, const struct room *const *rooms,
		       unsigned int nr)
{
	struct machine *m = machine_boot_rooms(config, rooms, nr);

	assert_true(IS_ERR(m));
	return PTR_ERR(m);
}

static const struct room stray_room = { .name = "stray", .id = ROOM_PHYS };

static void senseless_configs_are_refused(void **state)
{
	const struct machine_config many = { .nr_cpus = 65, .quiet = true };
	const struct machine_config strange = { .mode = 77, .quiet = true };
	const struct machine_config fine = { .quiet = true };
	const struct room *const twice[] = { &hw_room, &hw_room };
	const struct room *const no_ground[] = { &stray_room };

	(void)state;
	assert_int_equal(boot_error(&many, only_hw, 1), -EINVAL);
	assert_int_equal(boot_error(&strange, only_hw, 1), -EINVAL);
	assert_int_equal(boot_error(&fine, only_hw, 0), -EINVAL);
	assert_int_equal(boot_error(&fine, twice, 2), -EINVAL);
	assert_int_equal(boot_error(&fine, no_ground, 1), -EINVAL);
}

static void defaults_are_filled_in(void **state)
{
	struct machine *m = machine_boot_rooms(NULL, only_hw, 1);
	const struct machine_config *c;

	(void)state;
	assert_false(IS_ERR(m));
	c = machine_config(m);
	assert_int_equal(c->nr_cpus, 1);
	assert_int_equal(c->mem_bytes, MACHINE_MEM_DEFAULT);
	assert_int_equal(c->switch_every, 64);
	assert_ptr_equal(c->console, stderr);
	assert_int_equal(machine_shutdown(m), 0);
}

static long cpu_id(void *arg)
{
	(void)arg;
	return smp_processor_id();
}

static void the_largest_machine_runs_on_all_its_cpus(void **state)
{
	struct machine *m = boot_quiet(MACHINE_MAX_CPUS, 3);

	(void)state;
	for (unsigned int i = 0; i < MACHINE_MAX_CPUS; i++)
		assert_int_equal(machine_call(m, i, cpu_id, NULL).value, i);
	assert_int_equal(machine_call(m, MACHINE_MAX_CPUS, cpu_id, NULL).value, -EINVAL);
	assert_int_equal(machine_shutdown(m), 0);
}

/* ---- how calls end ---- */

static long exits_early(void *arg)
{
	(void)arg;
	fiber_exit(11);
}

static long is_a_bug(void *arg)
{
	(void)arg;
	BUG();
	return 0;
}

static void a_call_tells_how_it_ended(void **state)
{
	struct machine *m = boot_quiet(1, 1);
	struct machine_result r;

	(void)state;
	r = machine_call(m, 0, seven, NULL);
	assert_int_equal(r.end, MACHINE_VALUE);
	assert_int_equal(r.value, 7);
	assert_string_equal(r.message, "");
	r = machine_call(m, 0, exits_early, NULL);
	assert_int_equal(r.end, MACHINE_EXITED);
	assert_int_equal(r.value, 11);
	r = machine_call(m, 0, is_a_bug, NULL);
	assert_int_equal(r.end, MACHINE_BUG);
	assert_non_null(strstr(r.message, "kernel BUG at"));
	assert_int_equal(machine_counters(m).bugs, 1);
	r = machine_call(m, 0, seven, NULL);
	assert_int_equal(r.value, 7);
	assert_null(this_machine());
	assert_int_equal(machine_shutdown(m), 0);
}

static long calls_another(void *arg)
{
	struct machine_result r = machine_call(this_machine(), 1, is_a_bug, arg);

	return r.end == MACHINE_BUG ? machine_call(this_machine(), 1, cpu_id, NULL).value : -1;
}

static void a_task_may_call_too(void **state)
{
	struct machine *m = boot_quiet(2, 1);

	(void)state;
	assert_int_equal(machine_call(m, 0, calls_another, NULL).value, 1);
	assert_int_equal(machine_shutdown(m), 0);
}

/* ---- entering ---- */

static void entering_nests_and_gives_this_cpu(void **state)
{
	struct machine *m = boot_quiet(2, 1);

	(void)state;
	assert_null(this_cpu());
	machine_enter(m);
	machine_enter(m);
	assert_ptr_equal(this_machine(), m);
	assert_int_equal(smp_processor_id(), 0);
	assert_int_equal(machine_call(m, 1, cpu_id, NULL).value, 1);
	machine_leave();
	assert_ptr_equal(this_machine(), m);
	machine_leave();
	assert_null(this_machine());
	machine_enter(m);
	assert_int_equal(machine_shutdown(m), 0);	/* leaves */
	assert_null(this_machine());
}

/* Run fn in a child process; true if it was aborted. */
static bool aborts(void (*fn)(struct machine *m, struct machine *other))
{
	struct machine *m = boot_quiet(1, 1), *other = boot_quiet(1, 1);
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		signal(SIGABRT, SIG_DFL);
		fn(m, other);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(machine_shutdown(m), 0);
	assert_int_equal(machine_shutdown(other), 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void host_bug(struct machine *m, struct machine *other)
{
	(void)other;
	machine_enter(m);
	BUG();
}

static void enter_both(struct machine *m, struct machine *other)
{
	machine_enter(m);
	machine_enter(other);
}

static void host_waits_for_nothing(struct machine *m, struct machine *other)
{
	(void)other;
	machine_enter(m);
	fiber_prepare();
	fiber_block(SITE());
}

static void leave_only(struct machine *m, struct machine *other)
{
	(void)m;
	(void)other;
	machine_leave();
}

static void what_the_host_fiber_does_wrong_aborts_the_process(void **state)
{
	(void)state;
	assert_true(aborts(host_bug));
	assert_true(aborts(enter_both));
	assert_true(aborts(host_waits_for_nothing));
	assert_true(aborts(leave_only));
}

/* ---- several machines ---- */

struct busy {
	unsigned int turns;
	unsigned long sum;
};

static long busy_child(void *arg)
{
	struct busy *b = arg;

	for (unsigned int i = 0; i < b->turns; i++) {
		b->sum++;
		hw_safepoint();
		if (i % 16 == 0)
			msleep(1);
	}
	return 0;
}

static long busy_body(void *arg)
{
	struct busy b = { .turns = 300 };
	struct fiber *f[4];

	(void)arg;
	for (unsigned int i = 0; i < 4; i++)
		f[i] = fiber_spawn(i, "busy", busy_child, &b);
	for (unsigned int i = 0; i < 4; i++)
		fiber_join(f[i], NULL);
	return (long)b.sum;
}

static void *machine_thread(void *arg)
{
	long *sum = arg;

	for (int i = 0; i < 5; i++) {
		struct machine_config config = { .nr_cpus = 4, .quiet = true };
		struct machine *m = machine_boot_rooms(&config, only_hw, 1);

		if (IS_ERR(m))
			return NULL;
		*sum += machine_call(m, 0, busy_body, NULL).value;
		if (machine_call(m, 0, is_a_bug, NULL).end == MACHINE_BUG)
			*sum += 1;
		if (machine_shutdown(m))
			*sum = -1;
	}
	return NULL;
}

static void machines_on_several_host_threads_do_not_see_each_other(void **state)
{
	pthread_t thread[3];
	long sum[3] = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, machine_thread, &sum[i]), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(sum[i], 5 * (4 * 300 + 1));
	}
}

static void two_machines_of_one_thread_take_turns(void **state)
{
	struct machine *a = boot_quiet(2, 1), *b = boot_quiet(4, 1);

	(void)state;
	machine_enter(a);
	assert_true(machine_once(a, state));
	assert_ptr_equal(this_machine(), a);
	machine_leave();
	machine_enter(b);
	assert_true(machine_once(b, state));
	assert_int_equal(machine_nr_cpus(this_machine()), 4);
	machine_leave();
	assert_int_equal(machine_shutdown(a), 0);
	assert_int_equal(machine_call(b, 3, cpu_id, NULL).value, 3);
	assert_int_equal(machine_shutdown(b), 0);
}

/* ---- replay ---- */

#define NR_EVENTS	512

struct events {
	unsigned int nr;
	unsigned char who[NR_EVENTS];
};

struct event_source {
	struct events *events;
	unsigned char id;
};

static long event_child(void *arg)
{
	struct event_source *s = arg;

	for (int i = 0; i < 64; i++) {
		if (s->events->nr < NR_EVENTS)
			s->events->who[s->events->nr++] = s->id;
		for (int j = 0; j < 40; j++)
			hw_safepoint();
	}
	return 0;
}

static long event_body(void *arg)
{
	struct event_source source[8];
	struct fiber *f[8];

	for (unsigned int i = 0; i < 8; i++) {
		source[i] = (struct event_source){ arg, (unsigned char)i };
		f[i] = fiber_spawn(i % 4, "event", event_child, &source[i]);
	}
	for (unsigned int i = 0; i < 8; i++)
		fiber_join(f[i], NULL);
	return 0;
}

static void record_events(u64 seed, struct events *events)
{
	struct machine *m = boot_quiet(4, seed);

	events->nr = 0;
	machine_call(m, 0, event_body, events);
	assert_int_equal(machine_shutdown(m), 0);
	assert_int_equal(events->nr, NR_EVENTS);
}

static void a_seed_replays_a_run_at_other_addresses_and_another_seed_does_not(void **state)
{
	static struct events first, second, third;
	void *moved;

	(void)state;
	record_events(42, &first);
	moved = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	record_events(42, &second);
	munmap(moved, 1 << 20);
	record_events(43, &third);
	assert_memory_equal(first.who, second.who, NR_EVENTS);
	assert_memory_not_equal(first.who, third.who, NR_EVENTS);
}

static void the_public_generator_follows_the_seed_alone(void **state)
{
	struct machine *a = boot_quiet(1, 5), *b = boot_quiet(4, 5), *c = boot_quiet(1, 6);
	u64 x = machine_random(a);

	(void)state;
	assert_int_equal(x, machine_random(b));
	assert_int_not_equal(x, machine_random(c));
	assert_int_equal(machine_shutdown(a) + machine_shutdown(b) + machine_shutdown(c), 0);
}

/* ---- rooms ---- */

struct lower_state {
	int drains_left;
	bool violate;
	bool leak;
	char *order;
};

static struct lower_state *lower(struct machine *m)
{
	return machine_room(m, ROOM_REFCOUNT);
}

static int lower_init(struct machine *m)
{
	struct lower_state *s = hostmem_zalloc(machine_hostmem(m), sizeof(*s));

	if (!s)
		return -ENOMEM;
	machine_set_room(m, ROOM_REFCOUNT, s);
	return this_machine() == m && fiber_self() ? 0 : -EIO;
}

static void lower_exit(struct machine *m)
{
	if (lower(m)->order)
		strcat(lower(m)->order, "lower ");
	if (lower(m)->leak)
		machine_report_left(m, "thing", SITE(), 2, 64);
	hostmem_free(machine_hostmem(m), lower(m));
}

static void lower_check(struct machine *m, struct check_report *report)
{
	if (lower(m)->violate)
		check_fail(report, "I1: %s", "a thing is not as it should be");
}

static unsigned long lower_drain(struct machine *m)
{
	return lower(m)->drains_left ? (unsigned long)lower(m)->drains_left-- : 0;
}

static void lower_parting(struct machine *m)
{
	if (lower(m)->order)
		strcat(lower(m)->order, "look ");
}

static int upper_init(struct machine *m)
{
	return lower(m)->violate ? -EIO : 0;
}

static int upper_fails(struct machine *m)
{
	(void)m;
	return -ENODEV;
}

static void upper_exit(struct machine *m)
{
	if (lower(m)->order)
		strcat(lower(m)->order, "upper ");
}

static const struct room lower_room = {
	.name = "lower", .id = ROOM_REFCOUNT, .init = lower_init, .exit = lower_exit,
	.check = lower_check, .drain = lower_drain, .parting = lower_parting,
};
static const struct room upper_room = {
	.name = "upper", .id = ROOM_PHYS, .init = upper_init, .exit = upper_exit,
};
static const struct room failing_room = {
	.name = "failing", .id = ROOM_SLAB, .init = upper_fails,
};

static struct machine *boot_tower(void)
{
	const struct room *const tower[] = { &hw_room, &lower_room, &upper_room };
	struct machine_config config = { .quiet = true };
	struct machine *m = machine_boot_rooms(&config, tower, 3);

	assert_false(IS_ERR(m));
	return m;
}

static void rooms_take_a_last_look_and_go_down_top_first(void **state)
{
	char order[64] = "";
	struct machine *m = boot_tower();

	(void)state;
	lower(m)->order = order;
	assert_int_equal(machine_shutdown(m), 0);
	assert_string_equal(order, "look upper lower ");
}

static void a_room_that_does_not_come_up_undoes_the_boot(void **state)
{
	const struct room *const tower[] = { &hw_room, &lower_room, &upper_room, &failing_room };
	struct machine_config config = { .quiet = true };

	(void)state;
	assert_int_equal(boot_error(&config, tower, 4), -ENODEV);
	assert_null(this_machine());
}

static void quiesce_drains_until_nothing_moves(void **state)
{
	struct machine *m = boot_tower();

	(void)state;
	lower(m)->drains_left = 17;
	machine_quiesce(m);
	assert_int_equal(lower(m)->drains_left, 0);
	assert_int_equal(machine_shutdown(m), 0);
}

static void check_counts_violations_and_logs_them(void **state)
{
	struct machine *m = boot_tower();
	struct check_report report = { .quiet = true };

	(void)state;
	assert_int_equal(machine_check(m), 0);
	lower(m)->violate = true;
	assert_int_equal(machine_check(m), 1);
	assert_true(karc_log_contains(machine_log(m), "I1: a thing is not as it should be"));
	machine_enter(m);
	lower_check(m, &report);
	machine_leave();
	assert_int_equal(report.nr_violations, 1);
	assert_string_equal(report.last, "I1: a thing is not as it should be");
	assert_int_equal(machine_shutdown(m), 0);
}

static void note_left(void *arg, const struct machine_left *left)
{
	struct machine_left *copy = arg;

	*copy = *left;
}

static void shutdown_counts_what_is_left_and_tells_each(void **state)
{
	struct machine *m = boot_tower();
	struct machine_left left = { 0 };

	(void)state;
	machine_on_left(m, note_left, &left);
	lower(m)->leak = true;
	assert_int_equal(machine_shutdown(m), 2);
	assert_string_equal(left.kind, "thing");
	assert_int_equal(left.count, 2);
	assert_int_equal(left.bytes, 64);
	assert_string_equal(left.site->func, "lower_exit");
}

/* ---- once ---- */

static void once_is_true_once_per_machine_until_reset(void **state)
{
	struct machine *a = boot_quiet(1, 1), *b = boot_quiet(1, 1);
	static const char keys[300];

	(void)state;
	for (int i = 0; i < 300; i++)
		assert_true(machine_once(a, &keys[i]));
	for (int i = 0; i < 300; i++)
		assert_false(machine_once(a, &keys[i]));
	assert_true(machine_once(b, &keys[0]));
	machine_reset_once(a);
	assert_true(machine_once(a, &keys[0]));
	assert_int_equal(machine_shutdown(a) + machine_shutdown(b), 0);
}

/* ---- host memory ---- */

static void a_boot_without_host_memory_fails_cleanly(void **state)
{
	struct machine_config config = { .quiet = true, .mem_bytes = 64ULL << 40 };

	(void)state;
	assert_int_not_equal(boot_error(&config, only_hw, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hundred_machines_in_a_row_leave_nothing),
		cmocka_unit_test(senseless_configs_are_refused),
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(the_largest_machine_runs_on_all_its_cpus),
		cmocka_unit_test(a_call_tells_how_it_ended),
		cmocka_unit_test(a_task_may_call_too),
		cmocka_unit_test(entering_nests_and_gives_this_cpu),
		cmocka_unit_test(what_the_host_fiber_does_wrong_aborts_the_process),
		cmocka_unit_test(machines_on_several_host_threads_do_not_see_each_other),
		cmocka_unit_test(two_machines_of_one_thread_take_turns),
		cmocka_unit_test(a_seed_replays_a_run_at_other_addresses_and_another_seed_does_not),
		cmocka_unit_test(the_public_generator_follows_the_seed_alone),
		cmocka_unit_test(rooms_take_a_last_look_and_go_down_top_first),
		cmocka_unit_test(a_room_that_does_not_come_up_undoes_the_boot),
		cmocka_unit_test(quiesce_drains_until_nothing_moves),
		cmocka_unit_test(check_counts_violations_and_logs_them),
		cmocka_unit_test(shutdown_counts_what_is_left_and_tells_each),
		cmocka_unit_test(once_is_true_once_per_machine_until_reset),
		cmocka_unit_test(a_boot_without_host_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
