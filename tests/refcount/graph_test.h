/* SPDX-License-Identifier: MIT */
/*
 * graph_test.h - objects with a field of every kind, for the tests of graphs and reports
 */
#ifndef KARC_TESTS_GRAPH_TEST_H
#define KARC_TESTS_GRAPH_TEST_H

#include <stdio.h>

#include <karc/base/rbtree.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/audit.h>
#include <karc/refcount/graph.h>
#include <karc/refcount/users.h>

#include "refcount_test.h"

struct folder {
	struct arc arc;
	struct folder *owner;
	struct folder *pages[4];
	struct folder *seen;		/* weak */
	struct list_head children, sibling;
	struct rb_root tree;
	struct rb_node branch;
	struct folder *hidden[2];	/* shown by the visitor, empty places too */
	struct folder *lent;		/* a reference of the users tier */
	struct arc_users users;
	int value;
};

static inline struct arc *folder_take_hidden(void *obj)
{
	struct folder *f = obj, *child = NULL;
	int i;

	for (i = 0; i < 2 && !child; i++) {
		child = f->hidden[i];
		f->hidden[i] = NULL;
	}
	return child ? &child->arc : NULL;
}

static inline void folder_visit_hidden(void *obj, void (*see)(void *arg, struct arc *child),
				       void *arg)
{
	struct folder *f = obj;
	int i;

	for (i = 0; i < 2; i++)
		see(arg, f->hidden[i] ? &f->hidden[i]->arc : NULL);
}

static inline void folder_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static inline void folder_check(const void *obj, struct check_report *report)
{
	const struct folder *f = obj;

	if (f->value < 0)
		check_fail(report, "F1: folder has value %d", f->value);
}

static inline void folder_describe(const void *obj, char *buf, size_t size)
{
	const struct folder *f = obj;

	if (f->value > 0)
		snprintf(buf, size, "value %d", f->value);
}

static const struct arc_field folder_fields[] = {
	ARC_OWNED(folder, owner, folder),
	ARC_ARRAY(folder, pages, folder, 4),
	ARC_WEAK(folder, seen, folder),
	ARC_LIST(folder, children, folder, sibling),
	ARC_TREE(folder, tree, folder, branch),
	ARC_USER(folder, lent, folder),
	ARC_VISITOR("hidden", folder_take_hidden, folder_visit_hidden),
	ARC_FIELDS_END
};

static const struct arc_type folder_type = {
	.name = "folder", .size = sizeof(struct folder),
	.ops = { .free = folder_free, .check = folder_check, .describe = folder_describe },
	.fields = folder_fields,
};

/* With a site of its own for each caller. */
static inline struct folder *folder_new_of(const struct arc_type *type, const struct site *site)
{
	struct folder *f = must_alloc(sizeof(*f));

	assert_int_equal(arc_type_register(type), 0);
	INIT_LIST_HEAD(&f->children);
	INIT_LIST_HEAD(&f->sibling);
	f->tree = RB_ROOT;
	arc_init_site(&f->arc, type, site);
	return f;
}

#define folder_new() folder_new_of(&folder_type, SITE())

static inline void folder_put(struct folder *f)
{
	if (f)
		arc_put(&f->arc);
}

/* The reference goes out of the field. */
static inline void folder_drop(struct folder **field)
{
	struct folder *f = *field;

	*field = NULL;
	folder_put(f);
}

/* Texts that a callback is given, one after the other. */
#define LINES_MAX	12

struct lines {
	char text[LINES_MAX][512];
	unsigned int nr;
};

static inline void keep_line(void *arg, const char *text)
{
	struct lines *lines = arg;

	if (lines->nr < LINES_MAX)
		snprintf(lines->text[lines->nr], sizeof(lines->text[0]), "%s", text);
	lines->nr++;
}

/* Everything that is written, in one piece. */
struct written {
	char text[12 << 10];		/* of a stack of 64 KiB */
	size_t at;
};

static inline void keep_written(void *arg, const char *text)
{
	struct written *w = arg;
	size_t bytes = strlen(text);

	if (w->at + bytes < sizeof(w->text)) {
		memcpy(w->text + w->at, text, bytes + 1);
		w->at += bytes;
	}
}

#endif
