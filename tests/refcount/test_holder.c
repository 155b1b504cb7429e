/* SPDX-License-Identifier: MIT */
/*
 * Goal: each reference has a record that says who holds it, and a fiber that ends with one it
 * gave to nobody is named; never one that stored it somewhere.
 * Method: folders with a field of every kind; the records are read as text; faults are caught by
 * a handler. A storm on all CPUs ends with as many records as references.
 */
#include "fixture.h"

#include "graph_test.h"
#include <karc/hw/ipi.h>
#include <karc/hw/stacktrace.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/holder.h>
#include <karc/refcount/room.h>

#define HOLDERS(n)	(&(const struct machine_config){ .nr_cpus = (n), .holders = true })
#define HOLDER_TESTS(fn) \
	karc_unit_test_config(fn, 1, HOLDERS(1)), karc_unit_test_config(fn, 4, HOLDERS(4)), \
	karc_unit_test_config(fn, 8, HOLDERS(8))

/* The holders of one object as text: "who; who". */
struct who {
	char text[512];
	unsigned int nr;
	struct holder last;
};

static void note_holder(void *arg, const struct holder *h)
{
	struct who *who = arg;
	size_t at = strlen(who->text);

	if (who->nr++)
		at += (size_t)snprintf(who->text + at, sizeof(who->text) - at, "; ");
	holder_text(h, who->text + at, sizeof(who->text) - at);
	who->last = *h;
}

static struct who who_holds(const struct folder *f)
{
	struct who who = { .nr = 0 };

	holder_for_each(&f->arc, note_holder, &who);
	return who;
}

/* Numbers of fibers differ from case to case: "call, fiber 3" is "me". */
static void assert_held(const struct folder *f, const char *expected)
{
	char me[64], text[512] = "";
	struct who who = who_holds(f);
	const char *at = who.text, *found;

	snprintf(me, sizeof(me), "%s, fiber %llu", fiber_self()->name,
		 (unsigned long long)fiber_self()->id);
	while ((found = strstr(at, me))) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*sme",
			 (int)(found - at), at);
		at = found + strlen(me);
	}
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", at);
	assert_string_equal(text, expected);
}

/* Faults of one test. */
struct caught {
	unsigned int nr;
	enum arc_fault kind;
	char text[1024];
	const struct site *where;
	struct arc_fault_policy before;
};

static void catch(void *arg, const struct arc_fault_info *info)
{
	struct caught *c = arg;

	c->kind = info->kind;
	c->where = info->where;
	snprintf(c->text, sizeof(c->text), "%s", info->text);
	c->nr++;
}

static void catch_faults(struct caught *c)
{
	*c = (struct caught){ .nr = 0 };
	c->before = arc_fault_policy(this_machine(), ARC_POLICY_CALL, catch, c);
}

static void assert_caught(struct caught *c, unsigned int nr)
{
	arc_fault_policy_restore(this_machine(), &c->before);
	if (c->nr != nr)
		fail_msg("%u faults instead of %u, the last: %s", c->nr, nr, c->text);
}

static void get_and_put_make_and_end_a_record(void **state)
{
	struct folder *f = folder_new();

	(void)state;
	assert_held(f, "me");
	arc_get(&f->arc);
	assert_held(f, "me; me");
	assert_int_equal(holder_nr_records(this_machine()), 2);
	folder_put(f);
	assert_held(f, "me");
	folder_put(f);
	assert_int_equal(holder_nr_records(this_machine()), 0);
}

static void record_has_the_line_and_the_callers_of_the_get(void **state)
{
	struct folder *f = folder_new();
	char stack[2048];
	struct who who;

	(void)state;
	arc_get(&f->arc); unsigned int line = __LINE__;
	who = who_holds(f);
	assert_int_equal(who.last.site->line, line);
	assert_string_equal(who.last.site->func, __func__);
	assert_in_range(who.last.nr_stack, 1, HOLDER_STACK);
	stack_trace_snprint(stack, sizeof(stack), who.last.stack, who.last.nr_stack, 0);
	if (!strstr(stack, __func__))
		fail_msg("not in the stack:\n%s", stack);
	folder_put(f);
	folder_put(f);
}

static void tryget_and_upgrade_are_recorded(void **state)
{
	struct folder *f = folder_new();

	(void)state;
	assert_ptr_equal(arc_tryget(&f->arc), &f->arc);
	arc_downgrade(&f->arc);
	assert_ptr_equal(arc_upgrade(&f->arc), &f->arc);
	assert_held(f, "me; me; me");
	folder_put(f);
	folder_put(f);
	folder_put(f);
	assert_null(arc_upgrade(&f->arc));
	arc_weak_put(&f->arc);
	assert_int_equal(holder_nr_records(this_machine()), 0);
}

static void handing_moves_the_record(void **state)
{
	struct folder *f = folder_new(), *owner = folder_new();

	(void)state;
	arc_get(&f->arc);
	owner->owner = f;
	arc_hand_to_field(&f->arc, &owner->arc, "owner");
	assert_held(f, "me; folder.owner");
	arc_hand_to_root(&f->arc, "table of the test");
	assert_held(f, "table of the test; folder.owner");
	arc_hand_from_field(&f->arc, &owner->arc, "owner");
	owner->owner = NULL;
	assert_held(f, "table of the test; me");
	arc_hand_from_root(&f->arc, "table of the test");
	assert_held(f, "me; me");
	folder_put(f);
	folder_put(f);
	folder_put(owner);
}

static void root_registered_from_outside_counts_for_the_audit(void **state)
{
	struct folder *f = folder_new();
	struct check_report report = { .quiet = true };

	(void)state;
	arc_hold(&f->arc, "table of the test");
	assert_held(f, "table of the test");
	assert_int_equal(audit_counts(this_machine(), &report), 0);
	arc_release(&f->arc);
	assert_held(f, "me");
	folder_put(f);
}

static void teardown_ends_the_record_of_its_field(void **state)
{
	struct folder *f = folder_new(), *owner = folder_new();

	(void)state;
	owner->pages[1] = f;
	arc_hand_to_field(&f->arc, &owner->arc, "pages");
	arc_get(&f->arc);
	folder_put(owner);
	assert_held(f, "me");
	folder_put(f);
}

static void teardown_of_an_unrecorded_field_ends_the_oldest_record(void **state)
{
	struct folder *f = folder_new(), *owner = folder_new();
	unsigned int line;

	(void)state;
	owner->pages[1] = f;
	arc_get(&f->arc); line = __LINE__;
	folder_put(owner);
	assert_held(f, "me");
	assert_int_equal(who_holds(f).last.site->line, line);
	folder_put(f);
}

struct helper {
	struct folder *f, *owner;
	long (*fn)(struct helper *h);
	u64 id;
	unsigned int line;		/* of the get */
};

static long run_helper(void *arg)
{
	struct helper *h = arg;

	return h->fn(h);
}

/* On a fiber of its own, to its end. */
static void run_elsewhere(struct helper *h, long (*fn)(struct helper *h))
{
	struct fiber *fiber;

	h->fn = fn;
	fiber = spawn_on(1, run_helper, h);
	h->id = fiber->id;
	join_clean(fiber);
}

static long put_it(struct helper *h)
{
	folder_put(h->f);
	return 0;
}

static void put_without_a_record_ends_a_fields_before_a_tasks(void **state)
{
	struct helper h = { .f = folder_new(), .owner = folder_new() };

	(void)state;
	arc_get(&h.f->arc);
	h.owner->owner = h.f;
	arc_hand_to_field(&h.f->arc, &h.owner->arc, "owner");
	h.owner->owner = NULL;
	run_elsewhere(&h, put_it);	/* as code that empties a field by hand does */
	assert_held(h.f, "me");
	run_elsewhere(&h, put_it);
	assert_int_equal(holder_nr_records(this_machine()), 1);	/* the owner's */
	folder_put(h.owner);
}

static long forget_it(struct helper *h)
{
	arc_get(&h->f->arc); h->line = __LINE__;
	return 0;
}

static void forgotten_reference_is_named_once(void **state)
{
	struct helper h = { .f = folder_new() };
	struct caught c;
	char text[128];

	(void)state;
	catch_faults(&c);
	run_elsewhere(&h, forget_it);
	assert_caught(&c, 1);
	assert_int_equal(c.kind, ARC_FAULT_FORGOTTEN);
	assert_int_equal(c.where->line, h.line);
	assert_string_equal(c.where->func, "forget_it");
	snprintf(text, sizeof(text), "tester (fiber %llu) ends and has forgotten a reference of "
		 "folder %p, got at tests/refcount/test_holder.c:%u forget_it",
		 (unsigned long long)h.id, (void *)h.f, h.line);
	if (!strstr(c.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, c.text);
	snprintf(text, sizeof(text), "me; tester, fiber %llu (ended)", (unsigned long long)h.id);
	assert_held(h.f, text);
	folder_put(h.f);
	folder_put(h.f);
}

static void report_shows_the_callers(void **state)
{
	struct helper h = { .f = folder_new() };

	(void)state;
	run_elsewhere(&h, forget_it);
	expect_warn("ends and has forgotten a reference of folder");
	assert_true(fixture_log_contains("It was got by:"));
	assert_true(fixture_log_contains("forget_it+"));
	folder_put(h.f);
	folder_put(h.f);
}

/* One new folder in a field of each kind of h->owner, without a word. */
static long store_everywhere(struct helper *h)
{
	struct folder *in;

	h->owner->owner = folder_new();
	h->owner->pages[3] = folder_new();
	h->owner->hidden[1] = folder_new();
	in = folder_new();
	list_add(&in->sibling, &h->owner->children);
	in = folder_new();
	rb_link_node(&in->branch, NULL, &h->owner->tree.rb_node);
	rb_insert_color(&in->branch, &h->owner->tree);
	return 0;
}

static void what_was_stored_in_a_field_is_not_forgotten(void **state)
{
	struct helper h = { .owner = folder_new() };
	struct caught c;

	(void)state;
	catch_faults(&c);
	run_elsewhere(&h, store_everywhere);
	assert_held(h.owner->owner, "folder.owner");
	assert_held(h.owner->pages[3], "folder.pages");
	assert_held(h.owner->hidden[1], "folder.hidden");
	folder_put(h.owner);
	assert_caught(&c, 0);
}

static long give_it(struct helper *h)
{
	h->f = folder_new();
	arc_hand_to_root(&h->f->arc, "the test");
	arc_get(&h->f->arc);
	arc_hand_to_field(&h->f->arc, &h->owner->arc, "owner");
	h->owner->owner = h->f;
	return 0;
}

static void what_was_given_away_is_not_forgotten(void **state)
{
	struct helper h = { .owner = folder_new() };
	struct caught c;

	(void)state;
	catch_faults(&c);
	run_elsewhere(&h, give_it);
	assert_caught(&c, 0);
	assert_held(h.f, "the test; folder.owner");
	folder_put(h.owner);
	folder_put(h.f);
}

/* Two references, one of them stored: which one is not known, that one is missing is. */
static long store_one_of_two(struct helper *h)
{
	h->owner->owner = h->f;
	arc_get(&h->f->arc);
	arc_get(&h->f->arc); h->line = __LINE__;
	return 0;
}

static void only_what_no_field_explains_is_forgotten(void **state)
{
	struct helper h = { .f = folder_new(), .owner = folder_new() };
	struct caught c;

	(void)state;
	catch_faults(&c);
	run_elsewhere(&h, store_one_of_two);
	assert_caught(&c, 1);
	assert_int_equal(c.where->line, h.line);
	folder_put(h.f);
	folder_put(h.f);
	folder_put(h.owner);
}

static long get_its_kref(struct helper *h)
{
	kref_get(&h->f->arc.kref);		/* without a record */
	arc_get(&h->f->arc);
	refcount_dec(&h->f->arc.kref.refcount);
	refcount_dec(&h->f->arc.kref.refcount);	/* with the record left */
	return 0;
}

static void what_the_count_does_not_show_is_not_forgotten(void **state)
{
	struct helper h = { .f = folder_new() };
	struct caught c;

	(void)state;
	catch_faults(&c);
	run_elsewhere(&h, get_its_kref);
	assert_caught(&c, 0);
	folder_put(h.f);
}

static void fail_next_record(void)
{
	machine_hostmem(this_machine())->fail_nth = 1;
}

static long forget_without_record(struct helper *h)
{
	struct folder *many[40];
	int i;

	/* No record is left over to be used again. */
	for (i = 0; i < 40; i++)
		many[i] = folder_new();
	for (i = 0; i < 600; i++)
		arc_get(&many[0]->arc);
	fail_next_record();
	arc_get(&h->f->arc);
	assert_int_equal(holder_nr_untracked(&h->f->arc), 1);
	arc_get(&h->f->arc);
	for (i = 0; i < 600; i++)
		arc_put(&many[0]->arc);
	for (i = 0; i < 40; i++)
		folder_put(many[i]);
	return 0;
}

static void nobody_is_accused_where_a_record_is_missing(void **state)
{
	struct helper h = { .f = folder_new() };
	struct caught c;

	(void)state;
	catch_faults(&c);
	run_elsewhere(&h, forget_without_record);
	assert_caught(&c, 0);
	assert_int_equal(holder_nr_lost(this_machine()), 1);
	folder_put(h.f);
	folder_put(h.f);
	folder_put(h.f);
}

static void object_without_memory_for_records_is_not_tracked(void **state)
{
	struct folder *f;

	(void)state;
	fail_next_record();
	f = folder_new();
	assert_false(f->arc.flags & ARC_TRACKED);
	arc_get(&f->arc);
	arc_hand_to_root(&f->arc, "nobody");
	assert_int_equal(who_holds(f).nr, 0);
	folder_put(f);
	folder_put(f);
	assert_int_equal(holder_nr_lost(this_machine()), 1);
}

static void get_in_interrupt(void *arg)
{
	struct folder *f = arg;

	arc_get(&f->arc);
}

static void interrupts_hold_for_themselves(void **state)
{
	unsigned int cpu = machine_nr_cpus(this_machine()) - 1;
	struct folder *f;
	char text[64];

	(void)state;
	f = folder_new();
	smp_call_function_single((int)cpu, get_in_interrupt, f, 1);
	snprintf(text, sizeof(text), "me; CPU %u hardirq", cpu);
	assert_held(f, text);
	folder_put(f);
	snprintf(text, sizeof(text), "CPU %u hardirq", cpu);
	assert_held(f, text);
	folder_put(f);
}

/* ---- two tiers ---- */

struct room_of_two {
	struct arc arc;
	struct arc_users users;
	unsigned int line;		/* of a get */
};

static void nothing_more(void *obj)
{
	(void)obj;
}

static void room_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_type room_type = {
	.name = "room", .size = sizeof(struct room_of_two), .flags = ARC_LEAF,
	.users = offsetof(struct room_of_two, users),
	.ops = { .on_last_user = nothing_more, .free = room_free },
};

static struct room_of_two *new_room(void)
{
	struct room_of_two *room = must_alloc(sizeof(*room));

	assert_int_equal(arc_type_register(&room_type), 0);
	arc_init(&room->arc, &room_type);
	arc_users_init(&room->arc);
	return room;
}

static long forget_a_use(void *arg)
{
	struct room_of_two *room = arg;

	arc_users_get(&room->arc); room->line = __LINE__;
	return 0;
}

static void forgotten_use_is_named(void **state)
{
	struct room_of_two *room = new_room();
	struct caught c;
	struct who who = { .nr = 0 };

	(void)state;
	holder_for_each(&room->arc, note_holder, &who);
	assert_int_equal(who.nr, 2);
	assert_int_equal(strncmp(who.text, "its users; ", 11), 0);
	assert_true(who.last.user);
	catch_faults(&c);
	join_clean(spawn_on(1, forget_a_use, room));
	assert_caught(&c, 1);
	assert_int_equal(c.where->line, room->line);
	assert_non_null(strstr(c.text, "has forgotten a use of room"));
	arc_users_put(&room->arc);
	arc_users_put(&room->arc);
	assert_int_equal(holder_nr_records(this_machine()), 0);
}

/* ---- all CPUs ---- */

#define STORM_FOLDERS	6
#define STORM_STEPS	400

struct storm {
	struct folder *shared[STORM_FOLDERS];
	struct folder *owner[STORM_FOLDERS];
	unsigned int seed;
};

static unsigned int step(unsigned int *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 16;
}

/* Takes, hands to a field that it then empties, gives back; ends with nothing. */
static long storm_fiber(void *arg)
{
	struct storm *s = arg;
	unsigned int seed = __atomic_add_fetch(&s->seed, 7919, __ATOMIC_RELAXED), i, at;

	for (i = 0; i < STORM_STEPS; i++) {
		at = step(&seed) % STORM_FOLDERS;
		arc_get(&s->shared[at]->arc);
		switch (step(&seed) % 4) {
		case 0:
			arc_hand_to_field(&s->shared[at]->arc, &s->owner[at]->arc, "owner");
			arc_hand_from_field(&s->shared[at]->arc, &s->owner[at]->arc, "owner");
			break;
		case 1:
			arc_hand_to_root(&s->shared[at]->arc, "storm");
			break;
		case 2:
			hw_safepoint();
			break;
		}
		folder_put(s->shared[at]);
	}
	return 0;
}

static void storm_leaves_as_many_records_as_references(void **state)
{
	struct storm s = { .seed = 1 };
	struct fiber *fibers[8];
	struct caught c;
	unsigned int i;

	(void)state;
	for (i = 0; i < STORM_FOLDERS; i++) {
		s.shared[i] = folder_new();
		s.owner[i] = folder_new();
	}
	catch_faults(&c);
	for (i = 0; i < 8; i++)
		fibers[i] = spawn_on(i, storm_fiber, &s);
	for (i = 0; i < 8; i++)
		join_clean(fibers[i]);
	assert_caught(&c, 0);
	assert_int_equal(holder_nr_records(this_machine()), 2 * STORM_FOLDERS);
	assert_int_equal(machine_check(this_machine()), 0);
	for (i = 0; i < STORM_FOLDERS; i++) {
		folder_put(s.shared[i]);
		folder_put(s.owner[i]);
	}
}

/* Builds things in fields of others while others do the same, and ends. */
static long builder(void *arg)
{
	struct folder *mine = arg;
	unsigned int i;

	for (i = 0; i < 30; i++) {
		struct folder *in = folder_new();

		list_add(&in->sibling, &mine->children);
		if (i % 3 == 2) {
			in = list_first_entry(&mine->children, struct folder, sibling);
			list_del_init(&in->sibling);
			folder_put(in);
		}
	}
	return 0;
}

static void tasks_that_end_while_others_work_are_judged_rightly(void **state)
{
	struct folder *roots[8];
	struct fiber *fibers[8];
	struct caught c;
	unsigned int round, i;

	(void)state;
	catch_faults(&c);
	for (i = 0; i < 8; i++)
		roots[i] = folder_new();
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 8; i++)
			fibers[i] = spawn_on(i, builder, roots[i]);
		for (i = 0; i < 8; i++)
			join_clean(fibers[i]);
	}
	for (i = 0; i < 8; i++)
		folder_put(roots[i]);
	assert_caught(&c, 0);
}

static void without_holders_there_are_no_records(void **state)
{
	struct folder *f = folder_new();
	struct caught c;

	(void)state;
	assert_false(f->arc.flags & ARC_TRACKED);
	arc_hand_to_root(&f->arc, "nobody");
	assert_int_equal(who_holds(f).nr, 0);
	assert_int_equal(holder_nr_records(this_machine()), 0);
	catch_faults(&c);
	run_elsewhere(&(struct helper){ .f = f }, forget_it);
	assert_caught(&c, 0);
	folder_put(f);
	folder_put(f);
}

static void check_finds_records_that_disagree(void **state)
{
	struct folder *f = folder_new();
	struct check_report report = { .quiet = true };

	(void)state;
	arc_get(&f->arc);
	refcount_dec(&f->arc.kref.refcount);
	refcount_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "has 2 records for 1 references"));
	refcount_inc(&f->arc.kref.refcount);
	folder_put(f);
	folder_put(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOLDER_TESTS(get_and_put_make_and_end_a_record),
		HOLDER_TESTS(record_has_the_line_and_the_callers_of_the_get),
		HOLDER_TESTS(tryget_and_upgrade_are_recorded),
		HOLDER_TESTS(handing_moves_the_record),
		HOLDER_TESTS(root_registered_from_outside_counts_for_the_audit),
		HOLDER_TESTS(teardown_ends_the_record_of_its_field),
		HOLDER_TESTS(teardown_of_an_unrecorded_field_ends_the_oldest_record),
		HOLDER_TESTS(put_without_a_record_ends_a_fields_before_a_tasks),
		HOLDER_TESTS(forgotten_reference_is_named_once),
		HOLDER_TESTS(report_shows_the_callers),
		HOLDER_TESTS(what_was_stored_in_a_field_is_not_forgotten),
		HOLDER_TESTS(what_was_given_away_is_not_forgotten),
		HOLDER_TESTS(only_what_no_field_explains_is_forgotten),
		HOLDER_TESTS(what_the_count_does_not_show_is_not_forgotten),
		HOLDER_TESTS(nobody_is_accused_where_a_record_is_missing),
		HOLDER_TESTS(object_without_memory_for_records_is_not_tracked),
		/* An interrupt of another CPU: there must be one. */
		karc_unit_test_config(interrupts_hold_for_themselves, 4, HOLDERS(4)),
		karc_unit_test_config(interrupts_hold_for_themselves, 8, HOLDERS(8)),
		HOLDER_TESTS(forgotten_use_is_named),
		HOLDER_TESTS(storm_leaves_as_many_records_as_references),
		HOLDER_TESTS(tasks_that_end_while_others_work_are_judged_rightly),
		HOLDER_TESTS(check_finds_records_that_disagree),
		KARC_TESTS(without_holders_there_are_no_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
