/* SPDX-License-Identifier: MIT */
/*
 * replay_order.h - what replay_order.c, replay_search.c and replay_model.c share
 */
#ifndef KARC_TOOLS_REPLAY_ORDER_H
#define KARC_TOOLS_REPLAY_ORDER_H

#include "replay.h"

#define REPLAY_STEPS_MAX	64	/* of a plan: bits of a word */

struct files_struct;

/*
 * What calls compete for: the numbers of a table of descriptors, or the places of an address
 * space. Exactly one is set.
 */
struct replay_resource {
	struct mm_struct *mm;
	struct files_struct *files;
};

/* One effect of a call. A pipe has two; an open that fails has a number and gives it back. */
struct replay_op {
	struct rec_call call;		/* with its result if that is known */
	uint64_t begin, end;		/* lines; end is ~0 while unknown */
	bool known;			/* the end was seen, so it must be placed */
	bool optional;			/* need not take effect */
	uint8_t part;			/* of the same call: 0, 1 */
	bool last;			/* part of the call */
	int after;			/* op that comes before, -1: none */
	int64_t want;			/* descriptor it gets; -1: the lowest free one, whichever */
	int number;			/* that it has got, if want is -1 */
};

/* What is free and what is not, as karc has it now and as it would be after some effects. */
struct replay_model {
	struct replay *r;
	struct replay_task *t;		/* one that has the resource */
	struct replay_resource of;
	struct mm_struct *scratch;	/* an address space with the same places taken */
	bool *fds;
	unsigned int nr_fds;
};

/* ---- replay_model.c ---- */

bool replay_model_open(struct replay_model *model, struct replay *r, struct replay_task *t,
		       struct replay_resource of);
void replay_model_close(struct replay_model *model);
/* Back to what karc has now. False: no memory. */
bool replay_model_reset(struct replay_model *model);
/* Would ops[i] be answered as recorded? Then it takes effect in the model. */
bool replay_model_try(struct replay_model *model, struct replay_op *ops, unsigned int i);

/* ---- replay_search.c ---- */

/*
 * An order of the calls on @of that have begun or begin soon, @t's @call among them, in which all
 * are answered as recorded, or as many as possible. The plan stays empty if there is no memory.
 */
void replay_search(struct replay *r, struct replay_task *t, const struct rec_call *call,
		   struct replay_resource of, struct replay_plan *plan);

/* ---- replay_order.c ---- */

/* Does @call compete for memory; for descriptors? */
bool replay_orders_memory(const struct rec_call *call);
bool replay_orders_fds(const struct rec_call *call);
/* It gets the lowest free descriptor from *@start on. */
bool replay_takes_fd(const struct rec_call *call, unsigned int *start);
/* It gives back those from *@first to *@last. */
bool replay_frees_fds(const struct rec_call *call, uint64_t *first, uint64_t *last);
bool replay_has_resource(const struct replay_task *t, struct replay_resource of);

#endif
