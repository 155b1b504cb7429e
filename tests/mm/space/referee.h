/* SPDX-License-Identifier: MIT */
/*
 * referee.h - scripts of random calls, for test_referee.c: what they are, how they are made, how
 * they are shown, and the text of a maps file without what differs between host and karc
 */
#ifndef KARC_TESTS_SPACE_REFEREE_H
#define KARC_TESTS_SPACE_REFEREE_H

#include "space_test.h"

#define CALLS		300u
#define MAPS_BYTES	(256u << 10)
#define ARENA		0x20000000UL
#define ARENA_PAGES	64u
#define FILE_PAGES	64u
#define HUGE_PAGES	512u
#define VEC_PAGES	64u		/* mincore looks at no more */

#ifndef MAP_32BIT
#define MAP_32BIT	0x40
#endif
#ifndef MAP_TYPE
#define MAP_TYPE	0x0f
#endif

enum op_kind {
	OP_NONE,		/* left out while a failing script is made short */
	OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_BRK, OP_POKE, OP_PEEK, OP_MREMAP, OP_MADVISE,
	OP_MLOCK, OP_MLOCK2, OP_MUNLOCK, OP_MLOCKALL, OP_MUNLOCKALL, OP_MSYNC, OP_MINCORE,
	OP_REMAP_PAGES, OP_MSEAL, OP_NAME, OP_KINDS
};
enum op_file { FILE_NONE, FILE_RW, FILE_RDONLY, FILE_DISK };

/* An address = base of what @base says + @offset. */
struct place {
	int base;		/* -1: a number, -2: arena, -3: break at start, else a call */
	unsigned long offset;
};

struct op {
	enum op_kind kind;
	struct place at, to;
	unsigned long len, new_len;
	unsigned long prot, flags;
	enum op_file file;
	unsigned long pgoff_bytes;
};

/* What the kernel was built with and cannot be told from its version. */
struct host_has {
	bool ksm, names, swap;
	int disk_fd;		/* a file whose file system aligns large mappings, or -1 */
};

struct script {
	unsigned int nr;
	struct op ops[CALLS];
	/* the child's rights and limits; 0: none set */
	bool capable;
	int disk_fd;
	char disk_name[256];
	unsigned long memlock_pages, as_more_pages, data_more_pages;
	unsigned int note_at;		/* call after which maps_after is noted */
	/* filled by the child */
	long results[CALLS];
	u64 maps_hash[CALLS];
	long fork_fold;			/* made of the bytes of the arena, in a fork at the end */
	unsigned long start_brk, brk, start_stack, vm_pages, data_pages, end_vm_pages;
	bool done;
	char maps_before[MAPS_BYTES];
	char maps_after[MAPS_BYTES];
	char maps_fork[MAPS_BYTES];
};

/* ---- making a script ---- */

static void pick_arena(struct rnd *rnd, struct place *at, unsigned long *len)
{
	at->base = -2;
	at->offset = rnd_below(rnd, ARENA_PAGES) * P;
	*len = (1 + rnd_below(rnd, (u32)min(12UL, ARENA_PAGES - at->offset / P))) * P;
}

/* Bytes that the result of a call stands for, or 0. */
static unsigned long result_bytes(const struct op *op)
{
	unsigned long len = op->kind == OP_MMAP ? op->len : op->kind == OP_MREMAP ? op->new_len : 0;

	return len < 1UL << 30 ? len : 0;
}

/* An address inside something that is the script's own, and room from there on. */
static void pick_range(struct rnd *rnd, const struct script *s, struct place *at,
		       unsigned long *len)
{
	unsigned int i = s->nr ? rnd_below(rnd, s->nr) : 0;
	unsigned long bytes = s->nr ? result_bytes(&s->ops[i]) : 0, pages;

	/* What was made last is where things happen. */
	if (s->nr > 12 && rnd_below(rnd, 3)) {
		i = s->nr - 1 - rnd_below(rnd, 12);
		bytes = result_bytes(&s->ops[i]);
	}
	if (!bytes || !rnd_below(rnd, 3)) {
		pick_arena(rnd, at, len);
		return;
	}
	pages = (bytes + P - 1) / P;
	at->base = (int)i;
	if (rnd_below(rnd, 4)) {
		at->offset = rnd_below(rnd, (u32)pages) * P;
		*len = (1 + rnd_below(rnd, (u32)(pages - at->offset / P))) * P;
	} else {
		at->offset = 0;
		*len = pages * P;
	}
}

static unsigned long pick_prot(struct rnd *rnd)
{
	static const unsigned long prots[] = {
		RW, RW, RW, PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC, PROT_WRITE, RW | PROT_EXEC,
	};

	return prots[rnd_below(rnd, ARRAY_SIZE(prots))];
}

static unsigned long pick_length(struct rnd *rnd)
{
	switch (rnd_below(rnd, 12)) {
	case 0:
		return HUGE_PAGES * P;
	case 1:
		return (HUGE_PAGES + rnd_below(rnd, 3 * HUGE_PAGES)) * P;
	case 2:
		return 3 * HUGE_PAGES * P;
	case 3:
		return 1 + rnd_below(rnd, 5 * P);
	default:
		return (1 + rnd_below(rnd, 16)) * P;
	}
}

static const unsigned long odd_numbers[] = {
	0, 1, P - 1, P + 1, 0x7fffffffe000, 0x7ffffffff000, 0x800000000000, 1UL << 63,
	~0UL, ~0UL - P + 1, ~0UL - P,
};

static unsigned long odd_number(struct rnd *rnd)
{
	return odd_numbers[rnd_below(rnd, ARRAY_SIZE(odd_numbers))];
}

/* Numbers that ought to be refused, or that round in a special way. */
static void make_odd(struct rnd *rnd, struct op *op)
{
	switch (rnd_below(rnd, 4)) {
	case 0:
		if (op->kind == OP_MREMAP) {
			op->new_len = odd_number(rnd);
			if (op->flags & MREMAP_FIXED)
				op->new_len = 0;
			break;
		}
		op->len = odd_number(rnd);
		/* At a real place only what wraps around: it must not reach what is not ours. */
		if (op->kind != OP_MMAP && op->len > P && op->len < ~0UL - P)
			op->len = 0;
		if ((op->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && op->len > P)
			op->len = 0;
		break;
	case 1:
		op->at.offset += 1 + rnd_below(rnd, P - 1);
		if (op->len > P)
			op->len -= P;
		break;
	case 2:
		op->prot |= 1UL << (3 + rnd_below(rnd, 20));
		if (op->kind == OP_MREMAP)
			op->flags |= 8UL << rnd_below(rnd, 20);
		else
			op->flags ^= 1UL << rnd_below(rnd, 4);
		if (op->kind == OP_MADVISE && op->flags == MADV_PAGEOUT)
			op->flags = 5;
		break;
	default:
		op->pgoff_bytes = odd_number(rnd);
	}
}

static void make_mmap(struct rnd *rnd, const struct script *s, struct op *op)
{
	static const unsigned long extras[] = {
		MAP_NORESERVE, MAP_STACK, MAP_POPULATE, MAP_GROWSDOWN, MAP_LOCKED, MAP_32BIT,
		0, 0, 0, 0, 0, 0,
	};

	op->kind = OP_MMAP;
	op->prot = pick_prot(rnd);
	op->flags = rnd_below(rnd, 5) ? MAP_PRIVATE : rnd_below(rnd, 4) ? MAP_SHARED :
		    MAP_SHARED_VALIDATE;
	if (rnd_below(rnd, 4)) {
		op->flags |= MAP_ANONYMOUS;
	} else {
		op->file = rnd_below(rnd, 3) ? FILE_RW : FILE_RDONLY;
		/* Open for reading only: its holes would come and go as the host reads ahead. */
		if (s->disk_fd >= 0 && !rnd_below(rnd, 3))
			op->file = FILE_DISK;
		op->pgoff_bytes = rnd_below(rnd, FILE_PAGES) * P;
	}
	op->flags |= extras[rnd_below(rnd, ARRAY_SIZE(extras))];
	if (!rnd_below(rnd, 24))
		op->flags = (op->flags & ~(unsigned long)MAP_TYPE) | MAP_DROPPABLE;
	switch (rnd_below(rnd, 5)) {
	case 0:
	case 1:
		pick_range(rnd, s, &op->at, &op->len);
		op->flags |= rnd_below(rnd, 3) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
		break;
	case 2:
		pick_range(rnd, s, &op->at, &op->len);
		op->len = pick_length(rnd);
		break;
	default:
		op->at.base = -1;
		op->len = pick_length(rnd);
	}
}

static void make_mremap(struct rnd *rnd, const struct script *s, struct op *op)
{
	unsigned long room;

	op->kind = OP_MREMAP;
	pick_range(rnd, s, &op->at, &op->len);
	switch (rnd_below(rnd, 5)) {
	case 0:
		op->new_len = (1 + rnd_below(rnd, (u32)(op->len / P))) * P;
		break;
	case 1:
		op->new_len = op->len;
		break;
	case 2:
		op->new_len = pick_length(rnd);
		break;
	default:
		op->new_len = op->len + (1 + rnd_below(rnd, 8)) * P;
	}
	op->flags = rnd_below(rnd, 4) ? MREMAP_MAYMOVE : 0;
	if (!rnd_below(rnd, 3)) {
		op->flags |= MREMAP_FIXED;
		pick_range(rnd, s, &op->to, &room);
		op->new_len = rnd_below(rnd, 2) ? min(op->new_len, room) : min(op->len, room);
	}
	/* Linux leaves what this unlocks in locked_vm, karc does not: only without a limit. */
	if (!rnd_below(rnd, 6) && s->capable) {
		op->flags |= MREMAP_DONTUNMAP;
		op->new_len = op->len;
		if (op->flags & MREMAP_FIXED)
			op->new_len = op->len = min(op->len, room);
	}
	if (!rnd_below(rnd, 16))
		op->len = 0;
}

static void make_madvise(struct rnd *rnd, const struct script *s, struct op *op,
			 const struct host_has *has)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK,
		MADV_KEEPONFORK, MADV_DONTDUMP, MADV_DODUMP, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_SEQUENTIAL, MADV_RANDOM, MADV_NORMAL, MADV_REMOVE, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE, MADV_COLD, MADV_DONTNEED_LOCKED, MADV_GUARD_INSTALL,
		MADV_GUARD_REMOVE, MADV_FREE, MADV_WILLNEED, MADV_MERGEABLE, MADV_UNMERGEABLE,
		MADV_HWPOISON + 10, 5,
	};
	int what = advice[rnd_below(rnd, ARRAY_SIZE(advice))];

	/* MADV_PAGEOUT is left out: what it takes depends on the host's lists. */
	if ((what == MADV_MERGEABLE || what == MADV_UNMERGEABLE) && !has->ksm)
		what = MADV_DONTDUMP;
	if (what == MADV_WILLNEED && !has->swap)
		what = MADV_SEQUENTIAL;
	op->kind = OP_MADVISE;
	op->flags = (unsigned long)what;
	pick_range(rnd, s, &op->at, &op->len);
}

/* Calls that name a range and a number: @kind with one of @nr numbers. */
static void make_ranged(struct rnd *rnd, const struct script *s, struct op *op,
			enum op_kind kind, u32 nr)
{
	op->kind = kind;
	op->flags = nr ? rnd_below(rnd, nr) : 0;
	pick_range(rnd, s, &op->at, &op->len);
}

static void make_op(struct rnd *rnd, const struct script *s, struct op *op,
		    const struct host_has *has)
{
	unsigned int dice = rnd_below(rnd, 200);

	*op = (struct op) { .at.base = -1, .to.base = -1 };
	if (dice < 60) {
		make_mmap(rnd, s, op);
	} else if (dice < 70) {
		make_ranged(rnd, s, op, OP_MUNMAP, 0);
	} else if (dice < 88) {
		make_ranged(rnd, s, op, OP_MPROTECT, 0);
		op->prot = pick_prot(rnd);
	} else if (dice < 94) {
		op->kind = OP_BRK;
		op->at = (struct place) { -3, rnd_below(rnd, 64 * P) };
		return;
	} else if (dice < 120) {
		op->kind = dice < 112 ? OP_POKE : OP_PEEK;
		pick_range(rnd, s, &op->at, &op->len);
		op->at.offset += rnd_below(rnd, P);
		op->len = rnd_below(rnd, 256);
		return;
	} else if (dice < 148) {
		make_mremap(rnd, s, op);
	} else if (dice < 172) {
		make_madvise(rnd, s, op, has);
	} else if (dice < 178) {
		make_ranged(rnd, s, op, rnd_below(rnd, 2) ? OP_MLOCK : OP_MLOCK2, 3);
	} else if (dice < 181) {
		make_ranged(rnd, s, op, OP_MUNLOCK, 0);
	} else if (dice < 183) {
		op->kind = rnd_below(rnd, 2) ? OP_MLOCKALL : OP_MUNLOCKALL;
		op->flags = rnd_below(rnd, 9);
		return;
	} else if (dice < 187) {
		make_ranged(rnd, s, op, OP_MSYNC, 8);
	} else if (dice < 194) {
		make_ranged(rnd, s, op, OP_MINCORE, 0);
		op->len = min(op->len, VEC_PAGES * P);
	} else if (dice < 196) {
		make_ranged(rnd, s, op, OP_REMAP_PAGES, 0);
		op->pgoff_bytes = rnd_below(rnd, FILE_PAGES) * P;
	} else if (dice < 199) {
		make_ranged(rnd, s, op, has->names ? OP_NAME : OP_MINCORE, 3);
		op->len = min(op->len, VEC_PAGES * P);
	} else {
		make_ranged(rnd, s, op, OP_MSEAL, rnd_below(rnd, 4) ? 0 : 2);
		return;
	}
	if (!rnd_below(rnd, 12) && op->kind != OP_MINCORE)
		make_odd(rnd, op);
}

static void make_script(struct script *s, u64 seed, bool root, const struct host_has *has)
{
	struct rnd rnd;

	memset(s, 0, offsetof(struct script, maps_before));
	rnd_seed(&rnd, seed);
	s->capable = root;
	s->disk_fd = has->disk_fd;
	switch (rnd_below(&rnd, 6)) {
	case 0:
	case 1:
		s->capable = false;
		s->memlock_pages = rnd_below(&rnd, 600);
		break;
	case 2:
		s->as_more_pages = 1 + rnd_below(&rnd, 8000);
		break;
	case 3:
		s->data_more_pages = 1 + rnd_below(&rnd, 4000);
	}
	while (s->nr < CALLS) {
		make_op(&rnd, s, &s->ops[s->nr], has);
		s->nr++;
	}
	s->note_at = s->nr - 1;
}

static unsigned long address_of(const struct script *s, const long *results,
				const struct place *at)
{
	switch (at->base) {
	case -1:
		return at->offset;
	case -2:
		return ARENA + at->offset;
	case -3:
		return s->brk + at->offset;
	default:
		/* A mapping that failed has no place: its number is refused on both sides alike. */
		return results[at->base] <= 0 ? ARENA + (at->offset & (P - 1)) :
		       (unsigned long)results[at->base] + at->offset;
	}
}

/* One more answer of a peek: 0 .. 255, or -EFAULT. */
static long fold_byte(long fold, long byte)
{
	return (fold * 257 + (byte < 0 ? 256 : byte)) & 0x3fffffffffff;
}

static const char *const given_names[] = { "a", "b", NULL };

/* ---- showing one ---- */

static const char *op_text(const struct script *s, const long *results, const struct op *op)
{
	static const char *const names[OP_KINDS] = {
		"-", "mmap", "munmap", "mprotect", "brk", "poke", "peek", "mremap", "madvise",
		"mlock", "mlock2", "munlock", "mlockall", "munlockall", "msync", "mincore",
		"remap_file_pages", "mseal", "name",
	};
	static char text[240];
	unsigned long at = address_of(s, results, &op->at);

	if (op->kind == OP_MREMAP)
		snprintf(text, sizeof(text), "mremap(%lx, %lx -> %lx, flags %lx, to %lx)", at,
			 op->len, op->new_len, op->flags, address_of(s, results, &op->to));
	else
		snprintf(text, sizeof(text), "%s(%lx, len %lx, prot %lx, flags %lx, file %d, "
			 "offset %lx)", names[op->kind], at, op->len, op->prot, op->flags,
			 op->file, op->pgoff_bytes);
	return text;
}

/* ---- the text of a maps file ---- */

/* The end of the @nr-th word from @c on, the blank after it included. */
static const char *skip_words(const char *c, unsigned int nr)
{
	while (nr--) {
		while (*c && *c != ' ' && *c != '\n')
			c++;
		while (*c == ' ')
			c++;
	}
	return c;
}

static u64 hash_bytes(u64 hash, const char *from, const char *to)
{
	for (; from < to; from++)
		hash = (hash ^ (unsigned char)*from) * 1099511628211ULL;
	return hash;
}

/*
 * A line without device and inode: into @hash, and into @out when that is not NULL. The column of
 * the name counts as well.
 */
static u64 hash_line(u64 hash, const char *line, const char *end, char *out)
{
	const char *dev = skip_words(line, 3), *name = skip_words(dev, 2);
	unsigned int column = name < end ? (unsigned int)(name - line) : 0;

	if (out)
		sprintf(out, "%.*s(%u) %.*s", (int)(dev - line), line, column, (int)(end - name),
			name);
	return hash_bytes(hash_bytes(hash, line, dev), name, end) + column;
}

/* A page that the kernel shows in every process but that is no mapping of it. */
static bool is_gate(const char *line)
{
	return !strncmp(line, "ffffffffff600000", 16);
}

static u64 maps_hash(const char *text)
{
	u64 hash = 1469598103934665603ULL;
	const char *end;

	for (; *text; text = end + 1) {
		end = strchr(text, '\n');
		if (!is_gate(text))
			hash = hash_line(hash, text, end, NULL);
	}
	return hash;
}

/* Line @nr of @text without what differs, or "" beyond the last. */
static void maps_line_at(const char *text, unsigned int nr, char *out)
{
	const char *end;

	out[0] = '\0';
	for (; *text; text = end + 1) {
		end = strchr(text, '\n');
		if (!is_gate(text) && !nr--) {
			hash_line(0, text, end, out);
			return;
		}
	}
}

#endif
