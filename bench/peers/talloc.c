/* SPDX-License-Identifier: MIT */
/*
 * talloc.c - talloc's references; see peer.h for the functions
 *
 * What shares an object in talloc is talloc_reference(): another parent that keeps it. Moving it
 * with talloc_steal() would be cheaper and no second reference.
 */
#include "peer.h"
#include <talloc.h>

struct object {
	char payload[48];
};

struct state {
	void *owner, *other;
	struct object *obj;
};

void *get_put_begin(unsigned long n, const unsigned int *order)
{
	void *owner = talloc_new(NULL);
	struct state *s = talloc(owner, struct state);

	(void)n, (void)order;
	s->owner = owner;
	s->other = talloc_new(owner);
	s->obj = talloc(owner, struct object);
	return s;
}

void get_put_run(void *state, unsigned long n)
{
	struct state *s = state;

	while (n--) {
		PEER_SEEN(talloc_reference(s->other, s->obj));
		talloc_unlink(s->other, s->obj);
	}
}

void get_put_end(void *state)
{
	struct state *s = state;

	talloc_free(s->owner);
}

void create_run(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		struct object *obj = talloc(NULL, struct object);

		PEER_SEEN(obj);
		talloc_free(obj);
	}
}
