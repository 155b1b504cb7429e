/* SPDX-License-Identifier: MIT */
/*
 * replay_maps.c - what the program read of /proc/PID/maps, held against karc's own text
 *
 * What it is
 *	A program reads the text in pieces, and the kernel makes each line when its beginning is
 *	asked for: the line of the first mapping that ends behind the one shown last. karc's line is
 *	made at the same moment and kept until the piece that ends it.
 *
 * Unlike a comparison of bytes
 *	Device and inode numbers are the host's, as is the start of the stack, which depends on how
 *	deep the program went. Of a line that was read in part only, what comes before the device
 *	counts.
 */
#include "replay.h"
#include <karc/mm/space/maps.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX	400	/* of a line, in a message */

/* A line, taken apart. */
struct fields {
	unsigned long start, end, offset;
	char perms[5];
	const char *name;		/* "" if there is none */
};

static bool take_apart(const char *line, struct fields *f)
{
	unsigned int major, minor;
	unsigned long inode;
	int at = 0;

	if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu%n", &f->start, &f->end, f->perms, &f->offset,
		   &major, &minor, &inode, &at) != 7)
		return false;
	f->name = line + at;
	while (*f->name == ' ')
		f->name++;
	return true;
}

static bool same_line(const char *recorded, const char *ours)
{
	struct fields a, b;
	bool stack;

	if (!take_apart(recorded, &a) || !take_apart(ours, &b))
		return false;
	stack = !strcmp(a.name, "[stack]") && !strcmp(b.name, "[stack]");
	return (a.start == b.start || stack) && a.end == b.end && a.offset == b.offset &&
	       !strcmp(a.perms, b.perms) && !strcmp(a.name, b.name);
}

/* A line that was not read to its end. */
static bool same_beginning(const char *recorded, const char *ours)
{
	const char *device = strchr(ours, ':');
	size_t length = strlen(recorded), most = device ? (size_t)(device - ours) - 2 : 0;

	if (strstr(ours, "[stack]"))
		return true;
	return !strncmp(recorded, ours, length < most ? length : most);
}

/* ---- karc's next line -------------------------------------------------------------------- */

static const char *vsyscall_line(enum rec_vsyscall kind)
{
	switch (kind) {
	case REC_VSYSCALL_XONLY:
		return "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0"
		       "                  [vsyscall]";
	case REC_VSYSCALL_READABLE:
		return "ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0"
		       "                  [vsyscall]";
	default:
		return NULL;
	}
}

/* The line of the first mapping that ends behind @m->address, without newline; NULL: none left. */
static char *next_line(struct replay *r, struct replay_maps *m)
{
	struct replay_task *of = replay_task(r, m->of);
	struct mm_struct *mm = of && !of->dead ? get_task_mm(of->task) : NULL;
	struct vm_area_struct *vma = NULL;
	char line[MAPS_LINE_MAX];
	const char *last;
	size_t length = 0;

	if (!mm)
		return NULL;
	mmap_read_lock(mm);
	vma = m->past_end ? NULL : find_vma(mm, m->address);
	if (vma) {
		length = maps_line(vma, line);
		m->address = vma->vm_end;
	}
	mmap_read_unlock(mm);
	mmput(mm);
	if (vma) {
		line[length - 1] = '\0';
		return strdup(line);
	}
	last = m->past_end ? NULL : vsyscall_line(r->info->vsyscall);
	m->past_end = true;
	return last ? strdup(last) : NULL;
}

/* ---- where a reader is ------------------------------------------------------------------- */

static struct replay_maps *maps_of(struct replay_task *t, uint32_t of)
{
	struct replay_maps *m;

	for (m = t->maps; m; m = m->next)
		if (m->of == of)
			return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->of = of;
	m->next = t->maps;
	t->maps = m;
	return m;
}

static void drop_text(struct replay_maps *m)
{
	free(m->text);
	m->text = NULL;
	m->read[0] = '\0';
	m->read_bytes = 0;
}

void replay_maps_free(struct replay_task *t)
{
	struct replay_maps *m, *next;

	for (m = t->maps; m; m = next) {
		next = m->next;
		free(m->text);
		free(m);
	}
	t->maps = NULL;
}

static void start_over(struct replay *r, struct replay_maps *m)
{
	drop_text(m);
	m->address = 0;
	m->offset = 0;
	m->past_end = m->lost = false;
	r->n.maps_reads++;
}

/* ---- pieces ------------------------------------------------------------------------------ */

static void compare(struct replay *r, const struct rec_call *call, struct replay_maps *m,
		    bool whole)
{
	bool same = whole ? same_line(m->read, m->text) : same_beginning(m->read, m->text);

	if (whole) {
		r->n.maps_lines++;
		r->n.maps_same += same;
	}
	if (!same)
		replay_mismatch(r, call, "its maps had \"%.*s\", karc has \"%.*s\"", SHOWN_MAX,
				m->read, SHOWN_MAX, m->text);
}

static void no_line(struct replay *r, const struct rec_call *call)
{
	r->n.maps_lines++;
	replay_mismatch(r, call, "its maps had \"%.*s\", karc has no line more", SHOWN_MAX,
			call->text);
}

/* The next line is that behind the recorded one, so that one difference makes no others. */
static void go_on_behind(struct replay_maps *m)
{
	struct fields f;

	if (take_apart(m->read, &f) && f.end <= TASK_SIZE)
		m->address = f.end;
}

static void piece(struct replay *r, const struct rec_call *call, struct replay_maps *m)
{
	bool begins = call->args[1] & REC_MAPS_BEGINS, ends = call->args[1] & REC_MAPS_ENDS;

	if (begins) {
		drop_text(m);
		m->text = next_line(r, m);
		if (!m->text)
			no_line(r, call);
	}
	m->offset = call->args[0] + call->text_bytes + ends;
	if (!m->text || m->read_bytes + call->text_bytes >= sizeof(m->read))
		return;
	memcpy(m->read + m->read_bytes, call->text, call->text_bytes);
	m->read_bytes += call->text_bytes;
	m->read[m->read_bytes] = '\0';
	if (!ends) {
		compare(r, call, m, false);
		return;
	}
	compare(r, call, m, true);
	go_on_behind(m);
	drop_text(m);
}

static void end_of_text(struct replay *r, const struct rec_call *call, struct replay_maps *m)
{
	char *more = next_line(r, m);

	if (more)
		replay_mismatch(r, call, "its maps ended, karc has \"%.*s\"", SHOWN_MAX, more);
	free(more);
	m->past_end = true;
}

void replay_maps_read(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct replay_maps *m = maps_of(t, call->other);

	if (!m) {
		replay_stop(r, call->line, false, "no memory on the host");
		return;
	}
	if (!call->args[0])
		start_over(r, m);
	m->lost |= call->args[0] != m->offset;	/* it jumped about in the file */
	if (m->lost)
		r->n.noted++;
	else if (call->args[1] & REC_MAPS_EOF)
		end_of_text(r, call, m);
	else
		piece(r, call, m);
}
