/* SPDX-License-Identifier: MIT */
/*
 * holder_show.c - the records of holder.c, for who wants to read them
 *
 * Readers get copies: they may get and put what they read about. Without host memory for the copies
 * they are shown nothing.
 */
#include <stdio.h>

#include "holder_internal.h"

/* Under the lock: copies of the records of @set, or (NULL) of all, oldest first. */
static unsigned long copy_records(struct holders *h, const struct holder_set *set,
				  struct holder *copies, unsigned long max)
{
	const struct holder_record *r;
	unsigned long nr = 0;

	if (set) {
		list_for_each_entry(r, &set->records, of_set)
			if (nr < max)
				copies[nr++] = r->h;
	} else {
		list_for_each_entry(r, &h->all, all)
			if (nr < max)
				copies[nr++] = r->h;
	}
	return nr;
}

static unsigned long count_of_set(struct holder_set *set)
{
	return set ? list_count_nodes(&set->records) : 0;
}

/* The records that are there now; of @arc, or (NULL) all. Without memory none are shown. */
static void show_records(struct holders *h, const struct arc *arc,
			 void (*fn)(void *arg, const struct holder *h), void *arg)
{
	struct holder_set *set = NULL;
	unsigned long nr, i;
	struct holder *copies;

	holders_lock(h);
	nr = arc ? count_of_set(holder_find_set(h, arc)) : h->nr_records;
	holders_unlock(h);
	copies = nr ? hostmem_alloc(NULL, nr * sizeof(*copies)) : NULL;
	if (!copies)
		return;
	holders_lock(h);
	if (arc)
		set = holder_find_set(h, arc);
	nr = arc && !set ? 0 : copy_records(h, set, copies, nr);
	holders_unlock(h);
	for (i = 0; i < nr; i++)
		fn(arg, &copies[i]);
	hostmem_free(NULL, copies);
}

void holder_for_each(const struct arc *arc, void (*fn)(void *arg, const struct holder *h),
		     void *arg)
{
	struct holders *h = this_cpu() ? refcount_hot()->holders : NULL;

	if (h)
		show_records(h, arc, fn, arg);
}

void holder_for_each_of(struct machine *m, void (*fn)(void *arg, const struct holder *h),
			void *arg)
{
	struct holders *h = refcount_state(m)->holders;

	if (h)
		show_records(h, NULL, fn, arg);
}

unsigned int holder_nr_untracked(const struct arc *arc)
{
	struct holders *h = refcount_hot()->holders;
	const struct holder_set *set;
	unsigned int nr = 0;

	if (!h)
		return 0;
	holders_lock(h);
	set = holder_find_set(h, arc);
	if (set)
		nr = set->nr_untracked[0] + set->nr_untracked[1];
	holders_unlock(h);
	return nr;
}

static unsigned long read_locked(struct holders *h, const unsigned long *nr)
{
	unsigned long value;

	holders_lock(h);
	value = *nr;
	holders_unlock(h);
	return value;
}

unsigned long holder_nr_records(struct machine *m)
{
	struct holders *h = refcount_state(m)->holders;

	return h ? read_locked(h, &h->nr_records) : 0;
}

unsigned long holder_nr_lost(struct machine *m)
{
	struct holders *h = refcount_state(m)->holders;

	return h ? read_locked(h, &h->nr_lost) : 0;
}

size_t holder_text(const struct holder *h, char *buf, size_t size)
{
	int len = 0;

	switch (h->kind) {
	case HOLDER_TASK:
	case HOLDER_GONE:
		len = snprintf(buf, size, "%s%s%s %llu%s", h->name, h->name[0] ? ", " : "",
			       h->is_pid ? "pid" : "fiber", (unsigned long long)h->id,
			       h->kind == HOLDER_GONE ? " (ended)" : "");
		break;
	case HOLDER_FIELD:
		len = snprintf(buf, size, "%s.%s", h->owner_type->name, h->label);
		break;
	case HOLDER_ROOT:
	case HOLDER_USERS:
		len = snprintf(buf, size, "%s", h->label ? h->label : "somebody outside");
		break;
	case HOLDER_SOFTIRQ:
	case HOLDER_HARDIRQ:
		len = snprintf(buf, size, "CPU %llu %s", (unsigned long long)h->id,
			       h->kind == HOLDER_HARDIRQ ? "hardirq" : "softirq");
		break;
	}
	return len > 0 ? (size_t)len : 0;
}
