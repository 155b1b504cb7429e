/* SPDX-License-Identifier: MIT */
/*
 * free_check.c - what must not lie in freed memory: held locks, armed timers, live objects
 *
 * What it is      Allocators call check_freed_memory() before memory goes. Each question is
 *                 answered through an index that costs next to nothing while the answer is no: a
 *                 counting filter by address of locks and timers (hw), and the table of tracked
 *                 arcs, whose buckets go by 64 bytes of address.
 * Worst case      At most FOUND_MAX reports of a kind for one block.
 * Unlike Linux    Locks of all tasks are looked at, not of the current one only; objects are
 *                 arcs and hw_timers. Nothing is known of locks in builds without KARC_DEBUG, of
 *                 arcs in machines that do not track, and nothing is asked while a machine goes
 *                 down: what lives then is reported as left.
 */
#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/lockrank.h>
#include <karc/refcount/free_check.h>

#include "internal.h"

#define FOUND_MAX	8

static void say(const char *what, const struct site *site)
{
	if (site)
		pr_warn("%s at %s:%u %s\n", what, site->file, site->line, site->func);
}

static unsigned int check_locks(const void *p, size_t bytes, const char *what,
				const struct site *site)
{
#ifdef KARC_DEBUG
	struct lock_in_memory found;

	if (likely(!lockrank_find_in(p, bytes, &found)))
		return 0;
	WARN(1, "%s: held lock freed: %s lock, %zu bytes into a block of %zu, of task \"%s\"%s",
	     what, lock_rank_name(found.rank), (size_t)((const char *)found.lock - (const char *)p),
	     bytes, found.task, found.mine ? ", which frees it" : "");
	say("lock taken", found.site);
	say("freed", site);
	return 1;
#else
	(void)p, (void)bytes, (void)what, (void)site;
	return 0;
#endif
}

static unsigned int check_timers(const void *p, size_t bytes, const char *what,
				 const struct site *site)
{
	const struct site *started = NULL;
	struct hw_timer *timer;
	unsigned int nr = 0;

	while (nr < FOUND_MAX && (timer = hw_timer_find_in(p, bytes, &started))) {
		WARN(1, "%s: active timer freed, %zu bytes into a block of %zu; it is stopped", what,
		     (size_t)((const char *)timer - (const char *)p), bytes);
		say("timer started", started);
		say("freed", site);
		hw_timer_cancel(timer);
		nr++;
	}
	return nr;
}

static unsigned int check_arcs(const void *p, size_t bytes, const char *what,
			       const struct site *site)
{
	struct track *track = refcount_hot()->track;
	unsigned int nr = 0;
	struct arc *arc;

	while (track && nr < FOUND_MAX && (arc = track_find_in(track, p, bytes))) {
		WARN(1, "%s: live %s freed, %zu bytes into a block of %zu, with %u references",
		     what, arc->type->name, (size_t)((const char *)arc - (const char *)p), bytes,
		     refcount_read(&arc->kref.refcount));
		say("object made", arc->site);
		say("freed", site);
		reap_forget(arc);
		nr++;
	}
	return nr;
}

unsigned int check_freed_memory(const void *p, size_t bytes, const char *what,
				const struct site *site)
{
	const struct refcount_state *state = this_room(ROOM_REFCOUNT);

	if (!state || state->parting)
		return 0;
	return check_locks(p, bytes, what, site) + check_timers(p, bytes, what, site) +
	       check_arcs(p, bytes, what, site);
}
