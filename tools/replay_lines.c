/* SPDX-License-Identifier: MIT */
/*
 * replay_lines.c - the lines of the recording, and a look at those that come
 *
 * What it is
 *	Normally a line is read when it is carried out. To know what a call that has begun will
 *	have answered, the lines up to its end are read ahead into a ring and carried out from
 *	there.
 *
 * Worst case
 *	The ring holds REPLAY_AHEAD_MAX lines. A call whose end is further away (one that waits for
 *	something) counts as unknown; each line is looked at once for each call under way.
 */
#include "replay.h"
#include <stdlib.h>
#include <string.h>

static struct rec_call *slot(struct replay_ahead *a, unsigned int i)
{
	return &a->slots[(a->head + i) % REPLAY_AHEAD_MAX];
}

/* One more line into the ring; false: there is none, or no room. */
static bool read_ahead(struct replay *r)
{
	struct replay_ahead *a = &r->ahead;
	struct rec_call *to;
	char *text;

	if (!a->slots) {
		a->slots = malloc(REPLAY_AHEAD_MAX * sizeof(*a->slots));
		a->more = 1;
	}
	if (!a->slots || a->more <= 0 || a->nr == REPLAY_AHEAD_MAX)
		return false;
	to = slot(a, a->nr);
	a->more = recording_next(r->rec, to, &a->err);
	if (a->more <= 0)
		return false;
	if (to->text) {			/* the reader's own is overwritten by the next line */
		text = malloc(to->text_bytes + 1);
		if (!text) {
			a->more = -1;
			a->err = (struct recording_error){ to->line, "no memory on the host" };
			return false;
		}
		memcpy(text, to->text, to->text_bytes + 1);
		to->text = text;
	}
	a->nr++;
	return true;
}

static bool line_ended(struct replay *r, int more, const struct recording_error *err)
{
	r->at_end = true;
	if (more < 0)
		replay_stop(r, err->line, true, "%s", err->what);
	return false;
}

bool replay_next(struct replay *r)
{
	struct replay_ahead *a = &r->ahead;
	struct recording_error err;
	int more;

	if (r->opt.watch && r->line.line)
		r->opt.watch->ops.after(r->m, r->line.line, &r->line, r->opt.watch->arg);
	free(a->held);
	a->held = NULL;
	if (a->nr) {
		r->line = *slot(a, 0);
		a->held = (char *)r->line.text;
		a->head = (a->head + 1) % REPLAY_AHEAD_MAX;
		a->nr--;
		a->passed++;
	} else if (a->slots && a->more <= 0) {
		return line_ended(r, a->more, &a->err);
	} else {
		more = recording_next(r->rec, &r->line, &err);
		if (more <= 0)
			return line_ended(r, more, &err);
	}
	r->n.lines = r->line.line;
	if (r->opt.progress)
		replay_progress(r, false);
	return true;
}

const struct rec_call *replay_ahead(struct replay *r, unsigned int i)
{
	struct replay_ahead *a = &r->ahead;

	return i < a->nr || (i == a->nr && read_ahead(r)) ? slot(a, i) : NULL;
}

bool replay_look_for_end(struct replay *r, struct replay_task *t)
{
	struct replay_ahead *a = &r->ahead;
	const struct rec_call *line;
	uint64_t i = t->looked_to > a->passed ? t->looked_to - a->passed : 0;

	for (; !t->has_end && (i < a->nr || read_ahead(r)); i++) {
		line = slot(a, (unsigned int)i);
		t->looked_to = a->passed + i + 1;
		if (line->pid != t->pid || line->kind != REC_END)
			continue;
		t->end = *line;
		t->end.text = NULL;
		t->has_end = true;
	}
	return t->has_end;
}

void replay_ahead_free(struct replay *r)
{
	struct replay_ahead *a = &r->ahead;
	unsigned int i;

	free(a->held);
	for (i = 0; i < a->nr; i++)
		free((char *)slot(a, i)->text);
	free(a->slots);
}
