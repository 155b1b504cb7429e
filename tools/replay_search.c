/* SPDX-License-Identifier: MIT */
/*
 * replay_search.c - an order of overlapping calls in which all are answered as recorded
 *
 * What it is
 *	The calls that have begun on one table of descriptors or one address space, and those that
 *	begin before the last of them has ended, are collected from the lines ahead. An order of
 *	them is right if no call comes before one that had ended before it began, and each is
 *	answered as recorded when its turn comes. The search goes depth first and tries calls in the
 *	order of their ends, which mostly is right at once.
 *
 * Invariants
 *	I1  what is free after a set of calls does not depend on their order, since their answers
 *	    are the recorded ones: a set that led nowhere is not tried again
 *
 * Worst case
 *	At most REPLAY_STEPS_MAX effects are ordered at a time; what begins later is left to the
 *	next search. With k calls at a time there are no more than 2^k sets for each that ends;
 *	SEARCH_MAX bounds their number. Going back costs a new model.
 *
 * When there is no order
 *	The longest one that was found is taken: then the calls that do not fit in are those that
 *	are answered differently, and the others are not drawn in.
 *
 * Unlike a full search
 *	Where the lines ahead do not show an end (a call that waits, too many calls, a new task or
 *	program in between) the order is right as far as was seen.
 */
#include "replay_order.h"
#include <stdlib.h>
#include <string.h>

#define OPS_MAX		REPLAY_STEPS_MAX
#define RAW_MAX		(OPS_MAX / 2)	/* calls; each has two effects at most */
#define SEARCH_MAX	4000		/* effects tried */
#define FAILED_SLOTS	16384		/* a power of two */

struct search {
	struct replay *r;
	struct replay_resource of;
	struct replay_op raw[RAW_MAX];
	unsigned int nr_raw, nr_open;
	uint64_t cut;			/* line of the first call that is left out, or ~0 */
	struct replay_op ops[OPS_MAX];
	unsigned int nr;
	unsigned char rank[OPS_MAX];	/* ops in the order in which they are tried */
	unsigned char path[OPS_MAX], next[OPS_MAX + 1];
	unsigned int depth;
	unsigned char best[OPS_MAX];	/* the longest path so far */
	unsigned int best_depth;
	uint64_t placed;		/* bit per op */
	unsigned int nr_tried;
	uint64_t failed[FAILED_SLOTS];	/* keys of sets that lead nowhere, 0: none */
	unsigned int nr_failed;
	struct replay_model model;
};

/* ---- collecting -------------------------------------------------------------------------- */

static bool competes(const struct search *s, const struct rec_call *call)
{
	return s->of.mm ? replay_orders_memory(call) : replay_orders_fds(call);
}

static struct replay_op *add_raw(struct search *s, const struct rec_call *call, uint64_t begin,
				 uint64_t end)
{
	struct replay_op *op = &s->raw[s->nr_raw++];

	*op = (struct replay_op){ .call = *call, .begin = begin, .end = end,
				  .known = end != ~0ULL, .after = -1 };
	return op;
}

static struct replay_op *open_raw(struct search *s, uint32_t pid)
{
	unsigned int i;

	for (i = 0; i < s->nr_raw; i++)
		if (s->raw[i].call.pid == pid && !s->raw[i].known)
			return &s->raw[i];
	return NULL;
}

/* A line behind which it cannot be said who has what. */
static bool ends_view(const struct search *s, const struct rec_call *line)
{
	const struct replay_task *t;

	if (line->kind == REC_BORN || line->kind == REC_SUPERSEDED)
		return true;
	if (line->class != REC_CLASS_PROC || (line->kind != REC_CALL && line->kind != REC_END))
		return false;
	if (!replay_is_clone(line->nr) && line->nr != REC_NR_execve &&
	    line->nr != REC_NR_execveat && line->nr != REC_NR_unshare)
		return false;
	t = replay_task(s->r, line->pid);
	return !t || replay_has_resource(t, s->of);
}

static void end_seen(struct search *s, struct replay_task *t, const struct rec_call *line)
{
	struct replay_op *op = open_raw(s, line->pid);

	if (!op)
		return;
	if (t->has_begun && t->begun.line == op->begin) {
		t->end = *line;
		t->end.text = NULL;
		t->has_end = true;
	}
	op->call = *line;
	op->call.text = NULL;
	op->end = line->line;
	op->known = true;
	s->nr_open--;
}

/* False: the view ends here. */
static bool look_at(struct search *s, const struct rec_call *line)
{
	struct replay_task *t;

	if (ends_view(s, line))
		return false;
	if (line->kind == REC_RECEIVED ? s->of.mm != NULL :
	    (line->kind != REC_CALL && line->kind != REC_BEGIN && line->kind != REC_END) ||
	    !competes(s, line))
		return true;
	t = replay_task(s->r, line->pid);
	if (!t || !replay_has_resource(t, s->of))
		return true;
	if (line->kind == REC_END) {
		end_seen(s, t, line);
	} else if (s->cut == ~0ULL) {
		if (!s->nr_open)
			return false;
		if (s->nr_raw == RAW_MAX) {
			s->cut = line->line;	/* from here on only ends are looked for */
			return true;
		}
		s->nr_open += line->kind == REC_BEGIN;
		add_raw(s, line, line->line, line->kind == REC_BEGIN ? ~0ULL : line->line);
	}
	return true;
}

static void collect(struct search *s, struct replay_task *self, const struct rec_call *call)
{
	const struct rec_call *line = NULL;
	struct replay_task *t;
	unsigned int i = 0;

	add_raw(s, call, call->kind == REC_END ? self->begun.line : call->line, call->line);
	list_for_each_entry(t, &s->r->open, open_node) {
		if (t == self || t->early || !competes(s, &t->begun) ||
		    !replay_has_resource(t, s->of) || s->nr_raw == RAW_MAX / 2)
			continue;
		add_raw(s, &t->begun, t->begun.line, ~0ULL);
		s->nr_open++;
	}
	while (s->nr_open && (line = replay_ahead(s->r, i++)))
		if (!look_at(s, line))
			break;
	if (s->nr_open && line && line->line < s->cut)
		s->cut = line->line;
}

/* ---- effects ----------------------------------------------------------------------------- */

static struct replay_op *add_op(struct search *s, const struct replay_op *raw, uint8_t part,
				int after)
{
	struct replay_op *op = &s->ops[s->nr++];

	*op = *raw;
	op->part = part;
	op->after = after;
	op->want = -1;
	op->number = -1;
	return op;
}

static const struct replay_task *holder(struct search *s, const struct replay_op *raw)
{
	const struct replay_task *t = replay_task(s->r, raw->call.pid);

	return t && t->has_begun && t->begun.line == raw->begin ? t : NULL;
}

static bool is_pair(const struct rec_call *call)
{
	return call->nr == REC_NR_pipe || call->nr == REC_NR_pipe2 ||
	       call->nr == REC_NR_socketpair;
}

/* A call that gets a number and keeps it, and may have it already (REPLAY_RESERVED). */
static void add_taking(struct search *s, const struct replay_op *raw)
{
	const struct replay_task *t = holder(s, raw);
	const struct rec_call *call = &raw->call;
	unsigned int i, nr = is_pair(call) ? 2 : 1;
	int before = -1;

	for (i = 0; i < nr; i++) {
		int64_t want = is_pair(call) ? (int64_t)call->out[i] :
			       call->kind == REC_RECEIVED ? (int64_t)call->args[0] : call->result;

		if (t && t->reserved[i] == want)
			continue;
		add_op(s, raw, (uint8_t)i, before)->want = want;
		before = (int)s->nr - 1;
		s->ops[before].optional = raw->end > s->cut;
	}
	if (before >= 0)
		s->ops[before].last = true;
}

/* One that fails, or whose end is not in sight: it has some number for some time. */
static void add_passing(struct search *s, const struct replay_op *raw)
{
	const struct replay_task *t = holder(s, raw);
	struct replay_op *op;
	int before = -1;

	op = add_op(s, raw, 0, -1);
	before = (int)s->nr - 1;
	op->optional = true;
	if (t && t->reserved[0] >= 0) {		/* it has it already */
		op->number = t->reserved[0];
		s->placed |= 1ULL << before;
	}
	op = add_op(s, raw, 1, before);
	op->optional = op->last = true;
}

static void add_effects(struct search *s, const struct replay_op *raw)
{
	unsigned int start;

	if (!s->of.mm && (raw->call.kind == REC_RECEIVED || replay_takes_fd(&raw->call, &start))) {
		if (raw->known && (raw->call.result >= 0 || raw->call.kind == REC_RECEIVED))
			add_taking(s, raw);
		else
			add_passing(s, raw);
		return;
	}
	add_op(s, raw, 0, -1)->last = true;
	s->ops[s->nr - 1].optional = !raw->known || raw->end > s->cut;
}

/* Is op @i tried before op @j? */
static bool ranks_before(const struct search *s, unsigned int i, unsigned int j)
{
	const struct replay_op *x = &s->ops[i], *y = &s->ops[j];

	if (x->optional != y->optional)
		return y->optional;
	return x->end != y->end ? x->end < y->end : x->part < y->part;
}

static void rank(struct search *s)
{
	unsigned int i, at;

	for (i = 0; i < s->nr_raw; i++)
		add_effects(s, &s->raw[i]);
	for (i = 0; i < s->nr; i++) {
		for (at = i; at && ranks_before(s, i, s->rank[at - 1]); at--)
			s->rank[at] = s->rank[at - 1];
		s->rank[at] = (unsigned char)i;
	}
}

/* ---- the search -------------------------------------------------------------------------- */

static bool is_placed(const struct search *s, unsigned int i)
{
	return s->placed >> i & 1;
}

/* May op @i come next? */
static bool may_come(const struct search *s, unsigned int i)
{
	const struct replay_op *op = &s->ops[i], *other;
	unsigned int j;

	if (op->after >= 0 && !is_placed(s, (unsigned int)op->after))
		return false;
	for (j = 0; j < s->nr; j++) {
		other = &s->ops[j];
		if (is_placed(s, j)) {
			if (op->optional && op->end < other->begin)
				return false;	/* its time is over */
		} else if (!other->optional) {
			if (other->end < op->begin)
				return false;	/* that one ended before this began */
		} else if (other->after >= 0 && is_placed(s, (unsigned int)other->after) &&
			   other->end < op->begin) {
			return false;		/* that one has given its number back by now */
		}
	}
	return true;
}

static bool all_placed(const struct search *s)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (!s->ops[i].optional && !is_placed(s, i))
			return false;
	return true;
}

/* I1: the set, and which numbers are held by those that have just any. Never 0. */
static uint64_t key_of(const struct search *s, uint64_t placed)
{
	uint64_t key = placed * 0x9e3779b97f4a7c15ULL;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (s->ops[i].want < 0 && s->ops[i].number >= 0 && placed >> i & 1)
			key = (key ^ (uint64_t)(unsigned int)s->ops[i].number * 64 ^ i) *
			      0xbf58476d1ce4e5b9ULL;
	return key ? key : 1;
}

static bool has_failed(const struct search *s, uint64_t key)
{
	unsigned int slot = (unsigned int)(key >> 32) & (FAILED_SLOTS - 1);

	for (; s->failed[slot]; slot = (slot + 1) & (FAILED_SLOTS - 1))
		if (s->failed[slot] == key)
			return true;
	return false;
}

static void note_failed(struct search *s, uint64_t key)
{
	unsigned int slot = (unsigned int)(key >> 32) & (FAILED_SLOTS - 1);

	if (s->nr_failed++ >= FAILED_SLOTS / 2)
		return;
	while (s->failed[slot])
		slot = (slot + 1) & (FAILED_SLOTS - 1);
	s->failed[slot] = key;
}

/* The next op that fits, from the candidates of this depth that were not tried. */
static bool step_forward(struct search *s)
{
	unsigned int k, i;

	for (k = s->next[s->depth]; k < s->nr; k++) {
		i = s->rank[k];
		if (is_placed(s, i) || !may_come(s, i))
			continue;
		s->nr_tried++;
		if (!replay_model_try(&s->model, s->ops, i))
			continue;
		s->placed |= 1ULL << i;
		s->path[s->depth] = (unsigned char)i;
		s->next[s->depth++] = (unsigned char)(k + 1);
		s->next[s->depth] = 0;
		if (s->depth > s->best_depth) {
			memcpy(s->best, s->path, s->depth);
			s->best_depth = s->depth;
		}
		return true;
	}
	return false;
}

/* Nothing fits: undo the last one. The model is made again. */
static bool step_back(struct search *s)
{
	unsigned int d;

	note_failed(s, key_of(s, s->placed));
	if (!s->depth)
		return false;
	s->depth--;
	s->placed &= ~(1ULL << s->path[s->depth]);
	if (!replay_model_reset(&s->model))
		return false;
	for (d = 0; d < s->depth; d++)
		replay_model_try(&s->model, s->ops, s->path[d]);
	return true;
}

static bool find_order(struct search *s)
{
	bool dead_end = false;

	while (!all_placed(s)) {
		if (s->nr_tried > SEARCH_MAX)
			return false;
		if (!dead_end && step_forward(s))
			dead_end = has_failed(s, key_of(s, s->placed));
		else if (step_back(s))
			dead_end = false;
		else
			return false;
	}
	return true;
}

static void make_plan(const struct search *s, struct replay_plan *plan, bool found)
{
	unsigned int i;

	for (i = 0; i < s->best_depth; i++) {
		const struct replay_op *op = &s->ops[s->best[i]];

		plan->steps[i] = (struct replay_step){
			.pid = op->call.pid, .line = op->begin, .part = op->part,
			.last = op->last, .passing = op->want < 0 && op->optional,
		};
	}
	plan->nr = s->best_depth;
	plan->pos = 0;
	plan->cut = !found || s->cut != ~0ULL;
	plan->mm = s->of.mm;
	plan->files = s->of.files;
}

void replay_search(struct replay *r, struct replay_task *t, const struct rec_call *call,
		   struct replay_resource of, struct replay_plan *plan)
{
	struct search *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->r = r;
	s->of = of;
	s->cut = ~0ULL;
	collect(s, t, call);
	rank(s);
	if (replay_model_open(&s->model, r, t, of))
		make_plan(s, plan, find_order(s));
	replay_model_close(&s->model);
	r->n.searches++;
	free(s);
}
