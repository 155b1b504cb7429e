/* SPDX-License-Identifier: MIT */
/*
 * ref_tracker.c - trackers of references, under Linux's names
 *
 * What it is      A directory of the references on one object, kept by those who take them. The
 *                 pointer to its tracker is the proof of a reference: freeing it twice, or never,
 *                 is found without looking at counts.
 * Objects         ref_tracker_dir --list--> trackers of living references, latest first
 *                                 --quarantine--> of dead ones, oldest first
 * Invariants      I1  A tracker is on exactly one of the lists of its directory.
 *                 I2  quarantine_avail plus the length of the quarantine is constant.
 * Locking         dir->lock, interrupts off. Reports are written without it, from copies; only
 *                 ref_tracker_dir_print_locked() writes under the caller's.
 * Worst case      Grouping by callers is quadratic in the trackers looked at: PRINT_MAX of them.
 *                 A tracker that has left the quarantine is forgotten: its second free is the use
 *                 of freed memory, as in Linux.
 * Unlike Linux    Trackers are the host's memory: they are not simulated, and @gfp has no effect.
 *                 Reports name the line besides the callers. A tracker of another directory is
 *                 refused; Linux moves it. A report looks at PRINT_MAX trackers at most.
 */
#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/hw/inject.h>
#include <karc/hw/stacktrace.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/ref_tracker.h>
#include <stdio.h>
#include <string.h>

#define STACK_ENTRIES	16
#define PRINT_MAX	1024u
#define LINE_BYTES	256

struct ref_place {
	const struct site *site;
	unsigned int nr_stack;
	unsigned long stack[STACK_ENTRIES];
};

struct ref_tracker {
	struct list_head head;
	struct ref_tracker_dir *dir;
	bool dead;
	struct ref_place got, freed;
};

static void note_place(struct ref_place *place, const struct site *site)
{
	place->site = site;
	place->nr_stack = stack_trace_save(place->stack, STACK_ENTRIES, 1);
}

static void print_place(const char *what, const struct ref_place *place)
{
	pr_err("ref_tracker: %s\n", what);
	if (place->site)
		pr_err(" %s:%u %s\n", place->site->file, place->site->line, place->site->func);
	stack_trace_print(place->stack, place->nr_stack, 0);
}

void ref_tracker_dir_init_named(struct ref_tracker_dir *dir, unsigned int quarantine_count,
				const char *name)
{
	spin_lock_init(&dir->lock);
	dir->quarantine_avail = quarantine_count;
	dir->dead = false;
	INIT_LIST_HEAD(&dir->list);
	INIT_LIST_HEAD(&dir->quarantine);
	refcount_set(&dir->untracked, 1);
	refcount_set(&dir->no_tracker, 1);
	snprintf(dir->name, sizeof(dir->name), "%s", name);
}

static void tell_dead(const struct ref_tracker_dir *dir, const struct site *site)
{
	if (READ_ONCE(dir->dead))
		arc_fault_tell(ARC_FAULT_TRACKER, NULL, site,
			       "ref_tracker: %s is used after its exit", dir->name);
}

int ref_tracker_alloc_site(struct ref_tracker_dir *dir, struct ref_tracker **trackerp, gfp_t gfp,
			   const struct site *site)
{
	struct ref_tracker *tracker;
	unsigned long flags;

	(void)gfp;
	tell_dead(dir, site);
	if (!trackerp) {
		refcount_inc(&dir->no_tracker);
		return 0;
	}
	tracker = inject_fail() ? NULL : hostmem_zalloc(NULL, sizeof(*tracker));
	*trackerp = tracker;
	if (!tracker) {
		if (karc_once(SITE()))
			pr_err("ref_tracker: memory allocation failure, unreliable refcount "
			       "tracker.\n");
		refcount_inc(&dir->untracked);
		return -ENOMEM;
	}
	tracker->dir = dir;
	note_place(&tracker->got, site);
	spin_lock_irqsave(&dir->lock, flags);
	list_add(&tracker->head, &dir->list);
	spin_unlock_irqrestore(&dir->lock, flags);
	return 0;
}

int (ref_tracker_alloc)(struct ref_tracker_dir *dir, struct ref_tracker **trackerp, gfp_t gfp)
{
	return ref_tracker_alloc_site(dir, trackerp, gfp, NULL);
}

/* Under the lock: @tracker is dead; the one that the quarantine has no room for is returned. */
static struct ref_tracker *bury(struct ref_tracker_dir *dir, struct ref_tracker *tracker,
				const struct ref_place *freed)
{
	tracker->dead = true;
	tracker->freed = *freed;
	list_move_tail(&tracker->head, &dir->quarantine);
	if (dir->quarantine_avail) {
		dir->quarantine_avail--;
		return NULL;
	}
	tracker = list_first_entry(&dir->quarantine, struct ref_tracker, head);
	list_del(&tracker->head);
	return tracker;
}

static int refuse(const struct ref_tracker *tracker, const struct ref_tracker_dir *dir,
		  const struct site *site)
{
	if (tracker->dir != dir) {
		print_place("reference of another directory, allocated in:", &tracker->got);
		arc_fault_tell(ARC_FAULT_TRACKER, NULL, site,
			       "ref_tracker: a reference on %s was released on %s",
			       tracker->dir->name, dir->name);
		return -EINVAL;
	}
	pr_err("ref_tracker: reference already released.\n");
	print_place("allocated in:", &tracker->got);
	print_place("freed in:", &tracker->freed);
	arc_fault_tell(ARC_FAULT_TRACKER, NULL, site,
		       "ref_tracker: a reference on %s was released twice", dir->name);
	return -EINVAL;
}

int ref_tracker_free_site(struct ref_tracker_dir *dir, struct ref_tracker **trackerp,
			  const struct site *site)
{
	struct ref_tracker *tracker, copy;
	struct ref_place freed;
	unsigned long flags;
	bool wrong;

	tell_dead(dir, site);
	if (!trackerp) {
		refcount_dec(&dir->no_tracker);
		return 0;
	}
	tracker = *trackerp;
	if (!tracker) {
		refcount_dec(&dir->untracked);
		return -EEXIST;
	}
	note_place(&freed, site);
	spin_lock_irqsave(&dir->lock, flags);
	wrong = tracker->dead || tracker->dir != dir;
	if (wrong)
		copy = *tracker;
	else
		tracker = bury(dir, tracker, &freed);
	spin_unlock_irqrestore(&dir->lock, flags);
	if (wrong)
		return refuse(&copy, dir, site);
	hostmem_free(NULL, tracker);
	return 0;
}

int (ref_tracker_free)(struct ref_tracker_dir *dir, struct ref_tracker **trackerp)
{
	return ref_tracker_free_site(dir, trackerp, NULL);
}

static void free_list(struct list_head *list)
{
	struct ref_tracker *tracker, *next;

	list_for_each_entry_safe(tracker, next, list, head)
		hostmem_free(NULL, tracker);
}

static unsigned int report_leaked(const struct list_head *list)
{
	const struct ref_tracker *tracker;
	unsigned int nr = 0;

	list_for_each_entry(tracker, list, head) {
		print_place("leaked reference.", &tracker->got);
		nr++;
	}
	return nr;
}

void ref_tracker_dir_exit(struct ref_tracker_dir *dir)
{
	unsigned int nr, untracked, no_tracker;
	LIST_HEAD(quarantine);
	unsigned long flags;
	LIST_HEAD(list);

	spin_lock_irqsave(&dir->lock, flags);
	dir->dead = true;
	list_splice_init(&dir->list, &list);
	list_splice_init(&dir->quarantine, &quarantine);
	spin_unlock_irqrestore(&dir->lock, flags);
	nr = report_leaked(&list);
	free_list(&list);
	free_list(&quarantine);
	untracked = refcount_read(&dir->untracked) - 1;
	no_tracker = refcount_read(&dir->no_tracker) - 1;
	if (nr || untracked || no_tracker)
		arc_fault_tell(ARC_FAULT_LEFT_TRACKED, NULL, NULL,
			       "ref_tracker: %s has %u leaked references, %u untracked and %u "
			       "without tracker", dir->name, nr, untracked, no_tracker);
}

/* ---- who holds what now ---- */

/* A group of references with the same callers. */
struct ref_group {
	struct ref_place place;
	unsigned int nr;
};

struct ref_groups {
	struct ref_group *group;
	unsigned int nr;
	unsigned int nr_all;
};

static bool same_place(const struct ref_place *a, const struct ref_place *b)
{
	return a->site == b->site && a->nr_stack == b->nr_stack &&
	       !memcmp(a->stack, b->stack, a->nr_stack * sizeof(a->stack[0]));
}

/* dir->lock held; @groups->group has room for @limit. */
static void collect(struct ref_tracker_dir *dir, unsigned int limit, struct ref_groups *groups)
{
	struct ref_tracker *tracker;
	unsigned int i, nr = 0;

	groups->nr = 0;
	groups->nr_all = 0;
	list_for_each_entry(tracker, &dir->list, head) {
		groups->nr_all++;
		if (nr++ >= limit)
			continue;
		for (i = 0; i < groups->nr; i++)
			if (same_place(&groups->group[i].place, &tracker->got))
				break;
		if (i == groups->nr)
			groups->group[groups->nr++] = (struct ref_group){ tracker->got, 0 };
		groups->group[i].nr++;
	}
}

/* Where a report goes: @buf, or the log when it is NULL. */
struct ref_out {
	char *buf;
	size_t size, used;
};

static void __printf(2, 3) out(struct ref_out *o, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list args;
	size_t len;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (!o->buf) {
		pr_err("%s", line);
		return;
	}
	len = strlen(line);
	if (o->used + 1 >= o->size)
		return;
	len = min(len, o->size - 1 - o->used);
	memcpy(o->buf + o->used, line, len);
	o->used += len;
	o->buf[o->used] = '\0';
}

static void out_stack(struct ref_out *o, const struct ref_place *place)
{
	int len;

	if (!o->buf) {
		stack_trace_print(place->stack, place->nr_stack, 0);
	} else if (o->used + 1 < o->size) {
		len = stack_trace_snprint(o->buf + o->used, o->size - o->used, place->stack,
					  place->nr_stack, 0);
		o->used += min((size_t)len, o->size - 1 - o->used);
	}
}

static void out_groups(struct ref_out *o, const struct ref_tracker_dir *dir,
		       const struct ref_groups *groups)
{
	const struct ref_group *g;
	unsigned int shown = 0;

	for (g = groups->group; g < groups->group + groups->nr; g++) {
		out(o, "ref_tracker: %s@%p has %u/%u users at\n", dir->name, (const void *)dir,
		    g->nr, groups->nr_all);
		if (g->place.site)
			out(o, " %s:%u %s\n", g->place.site->file, g->place.site->line,
			    g->place.site->func);
		out_stack(o, &g->place);
		shown += g->nr;
	}
	if (shown < groups->nr_all)
		out(o, "ref_tracker: %s@%p skipped reports about %u/%u users.\n", dir->name,
		    (const void *)dir, groups->nr_all - shown, groups->nr_all);
	if (refcount_read(&dir->untracked) > 1)
		out(o, "ref_tracker: %s@%p has %u untracked users.\n", dir->name,
		    (const void *)dir, refcount_read(&dir->untracked) - 1);
	if (refcount_read(&dir->no_tracker) > 1)
		out(o, "ref_tracker: %s@%p has %u users without tracker.\n", dir->name,
		    (const void *)dir, refcount_read(&dir->no_tracker) - 1);
}

static void report(struct ref_tracker_dir *dir, unsigned int limit, bool locked,
		   struct ref_out *o)
{
	struct ref_groups groups;
	unsigned long flags = 0;

	limit = min(limit, PRINT_MAX);
	groups.group = hostmem_alloc(NULL, (limit + 1UL) * sizeof(*groups.group));
	if (!groups.group) {
		out(o, "ref_tracker: %s: couldn't get stats, no memory.\n", dir->name);
		return;
	}
	if (!locked)
		spin_lock_irqsave(&dir->lock, flags);
	collect(dir, limit, &groups);
	if (!locked)
		spin_unlock_irqrestore(&dir->lock, flags);
	out_groups(o, dir, &groups);
	hostmem_free(NULL, groups.group);
}

void ref_tracker_dir_print(struct ref_tracker_dir *dir, unsigned int display_limit)
{
	struct ref_out o = { NULL, 0, 0 };

	report(dir, display_limit, false, &o);
}

void ref_tracker_dir_print_locked(struct ref_tracker_dir *dir, unsigned int display_limit)
{
	struct ref_out o = { NULL, 0, 0 };

	report(dir, display_limit, true, &o);
}

int ref_tracker_dir_snprint(struct ref_tracker_dir *dir, char *buf, size_t size)
{
	struct ref_out o = { buf, size, 0 };

	if (!size)
		return 0;
	buf[0] = '\0';
	report(dir, PRINT_MAX, false, &o);
	return (int)o.used;
}
