/* SPDX-License-Identifier: MIT */
/*
 * play_segv.c - a wild pointer is used: how does the kernel know whether it may be?
 *
 * Each case of segv_cases.c gets a program of its own, made by fork and exec, so that what one
 * pointer changes is not seen by the next.
 */
#include "segv.h"
#include <karc/harness/guest.h>
#include <stdlib.h>
#include <string.h>

static void play_case(struct stage *s, struct task_struct *init, const struct segv_case *c,
		      struct segv_facts *f, bool with_map)
{
	struct segv_world w;

	memset(f, 0, sizeof(*f));
	f->sharer_value = -1;
	if (segv_world_make(&w, s, init)) {
		if (with_map) {
			segv_show_map(s, &w);
			stage_look(s);
		}
		f->addr = c->aim(&w);
		if (s->opt->part)
			stage_mark(s, "The pointer is about to be used");
		if (w.user)
			segv_use(&w, c, f);
	}
	segv_world_end(&w);
	f->ok &= !w.failed;
}

static void tell_all(struct stage *s, struct task_struct *init, struct segv_facts *all)
{
	const struct segv_case *c;
	unsigned int i;

	segv_show_intro(s);
	for (i = 0; (c = segv_case_at(i)); i++) {
		play_case(s, init, c, &all[i], i == 0);
		if (segv_group_at(i))
			stage_head(s, "%s", segv_group_at(i));
		segv_show_row(s, c, &all[i]);
	}
	segv_show_answer(s, all, i);
}

static void list_json(struct stage *s, struct task_struct *init, const struct segv_case *only,
		      struct segv_facts *f)
{
	const struct segv_case *c;
	unsigned int i, nr = 0;

	for (i = 0; (c = segv_case_at(i)); i++) {
		if (only && c != only)
			continue;
		play_case(s, init, c, f, false);
		segv_show_json(s, c, f, nr++ == 0);
	}
}

static void play(struct stage *s, struct task_struct *init)
{
	const struct segv_case *only = s->opt->part ? segv_case_find(s->opt->part) : NULL;
	unsigned int nr = 0;
	struct segv_facts *all;

	while (segv_case_at(nr))
		nr++;
	all = calloc(nr + 1, sizeof(*all));
	if (!all) {
		stage_expect(s, false, "host memory for what is seen");
		return;
	}
	if (s->opt->json) {
		list_json(s, init, only, all);
	} else if (only) {
		play_case(s, init, only, all, false);
		segv_show_story(s, only, all);
	} else {
		tell_all(s, init, all);
	}
	free(all);
}

void play_segv(struct stage *s)
{
	struct task_struct *init = task_create_init("init");

	stage_listen(s, false);		/* segv_use.c keeps the steps that count */
	if (IS_ERR(init)) {
		stage_expect(s, false, "a process");
		return;
	}
	play(s, init);
	guest_exit(init, 0);
	put_task_struct(init);
}

const char *segv_part_at(unsigned int i, const char **what)
{
	const struct segv_case *c = segv_case_at(i);

	if (!c)
		return NULL;
	*what = c->what;
	return c->name;
}
