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
		hot->track = state->track;
	}
}

static void run_deferred(void)
{
	reap_deferred();
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
	machine_set_room(m, ROOM_REFCOUNT, state);
	err = rcu_init(m);
	if (err)
		goto free_track;
	refcount_set_hot(m, state);
	cpu_on_deferred(m, run_deferred);
	return 0;

free_track:
	machine_set_room(m, ROOM_REFCOUNT, NULL);
	track_destroy(state->track);
free_ledger:
	ledger_destroy(state->ledger);
free_state:
	hostmem_free(NULL, state);
	return err;
}

static unsigned long refcount_drain(struct machine *m)
{
	return reap_drain(m) + rcu_drain(m);
}

static void refcount_check(struct machine *m, struct check_report *report)
{
	struct refcount_state *state = refcount_state(m);

	ledger_check(state->ledger, report);
	if (state->track)
		track_check(state->track, report);
}

static void refcount_exit(struct machine *m)
{
	struct refcount_state *state = refcount_state(m);

	cpu_on_deferred(m, NULL);
	ledger_report_left(state->ledger, m);
	rcu_exit(m);
	track_destroy(state->track);
	ledger_destroy(state->ledger);
	machine_set_room(m, ROOM_REFCOUNT, NULL);
	hostmem_free(NULL, state);
}

const struct room refcount_room = {
	.name = "refcount",
	.id = ROOM_REFCOUNT,
	.init = refcount_init,
	.exit = refcount_exit,
	.check = refcount_check,
	.drain = refcount_drain,
};
