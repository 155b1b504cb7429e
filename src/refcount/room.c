/* SPDX-License-Identifier: MIT */
/*
 * room.c - the refcount room: what the machine boots, drains, checks and shuts down
 */
#include <karc/base/hostmem.h>
#include <karc/refcount/reap.h>
#include <karc/refcount/room.h>

#include "internal.h"

static void refcount_set_hot(struct machine *m, struct refcount_state *state)
{
	struct refcount_hot *hot;
	unsigned int i;

	for (i = 0; i < machine_nr_cpus(m); i++) {
		hot = refcount_hot_of(m, i);
		hot->ledger = state->ledger;
		hot->shard = &state->ledger->shards[state->deterministic ? 0 : i];
		hot->near = hot->shard->near;
		hot->track = state->track;
		hot->holders = state->holders;
		hot->watch = (state->track ? WATCH_TRACK : 0) |
			     (state->holders ? WATCH_HOLDERS : 0);
	}
}

static void run_deferred(void)
{
	local_run_queued();
	reap_deferred();
	quarantine_run();
}

/* Who listens to frees is to hear those of plain leaves, too: let them ask for the way again. */
static void events_changed(struct machine *m, u32 mask)
{
	for (unsigned int i = 0; mask & TRACE_SLAB_ALL && i < machine_nr_cpus(m); i++) {
		struct plain_hot *plain = &refcount_hot_of(m, i)->plain;

		if (READ_ONCE(plain->type))
			WRITE_ONCE(plain->type, NULL);
	}
}

static int refcount_init(struct machine *m)
{
	struct refcount_state *state = hostmem_zalloc(NULL, sizeof(*state));
	int err = -ENOMEM;

	if (!state)
		return -ENOMEM;
	state->deterministic = machine_config(m)->mode == MACHINE_DETERMINISTIC;
	state->ledger = ledger_create(state->deterministic ? 1 : machine_nr_cpus(m));
	if (!state->ledger)
		goto free_state;
	if (machine_config(m)->track) {
		state->track = track_create();
		if (!state->track)
			goto free_ledger;
	}
	if (machine_config(m)->holders) {
		state->holders = holders_create(m);
		if (!state->holders)
			goto free_track;
	}
	machine_set_room(m, ROOM_REFCOUNT, state);
	local_init(m);
	err = quarantine_create(m, &state->quarantine_order);
	if (err)
		goto free_track;
	err = rcu_init(m);
	if (err)
		goto free_quarantine;
	refcount_set_hot(m, state);
	cpu_on_deferred(m, run_deferred);
	if (state->holders)
		fiber_on_end(m, holder_fiber_ends);
	trace_event_on_change(m, &state->events, events_changed);
	return 0;

free_quarantine:
	quarantine_destroy(m);
free_track:
	machine_set_room(m, ROOM_REFCOUNT, NULL);
	holders_destroy(state->holders);
	track_destroy(state->track);
free_ledger:
	ledger_destroy(state->ledger);
free_state:
	hostmem_free(NULL, state);
	return err;
}

static unsigned long refcount_drain(struct machine *m)
{
	return local_drain(m) + reap_drain(m) + rcu_drain(m) + quarantine_drain(m);
}

static void refcount_check(struct machine *m, struct check_report *report)
{
	struct refcount_state *state = refcount_state(m);

	ledger_check(state->ledger, report);
	if (state->track)
		track_check(state->track, report);
	if (state->holders)
		holders_check(state->holders, report);
	local_check(m, report);
}

static void refcount_exit(struct machine *m)
{
	struct refcount_state *state = refcount_state(m);

	trace_event_off_change(m, &state->events);
	cpu_on_deferred(m, NULL);
	fiber_on_end(m, NULL);
	ledger_report_left(state->ledger, m);
	leaks_report_left(m);
	graph_sources_exit(m, &state->sources);
	rcu_exit(m);
	local_exit(m);
	quarantine_destroy(m);
	holders_destroy(state->holders);
	track_destroy(state->track);
	ledger_destroy(state->ledger);
	machine_set_room(m, ROOM_REFCOUNT, NULL);
	hostmem_free(NULL, state);
}

/* From here on memory goes with what lives in it, and what lives is told as left. */
static void refcount_parting(struct machine *m)
{
	leaks_parting(m);
	refcount_state(m)->parting = true;
}

const struct room refcount_room = {
	.name = "refcount",
	.id = ROOM_REFCOUNT,
	.init = refcount_init,
	.exit = refcount_exit,
	.check = refcount_check,
	.drain = refcount_drain,
	.parting = refcount_parting,
};
