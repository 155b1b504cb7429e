/* SPDX-License-Identifier: MIT */
/*
 * Goal: the host kernel is the referee. The same random calls run in a real child process (without
 * address randomisation) and in karc; every result and the final maps must agree.
 *
 * Method: the child is this program again. It notes its own maps before the first call, karc
 * builds the same ones, so that placement starts from equal ground. Addresses of calls are
 * given as "result of call i plus offset" or as offsets into an arena that is free at the start;
 * so nothing of the child itself is ever hit. Seed: KARC_TEST_SEED. Under the sanitizers, which
 * fill the address space, there is nothing to compare.
 */
#define _GNU_SOURCE
#include "space_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define CALLS		300u
#define ROUNDS		40u
#define MAPS_BYTES	(256u << 10)
#define ARENA		0x20000000UL
#define ARENA_PAGES	64u
#define FILE_PAGES	64u
#define HUGE_PAGES	512u

#ifndef MAP_32BIT
#define MAP_32BIT	0x40
#endif

enum op_kind { OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_BRK, OP_POKE, OP_PEEK, OP_KINDS };
enum op_file { FILE_NONE, FILE_RW, FILE_RDONLY };

/* One call: address = base of what @base says + @offset. */
struct op {
	enum op_kind kind;
	int base;		/* -1: a number, -2: arena, -3: break at start, else a call */
	unsigned long offset;
	unsigned long len;
	unsigned long prot, flags;
	enum op_file file;
	unsigned long pgoff_bytes;
};

struct script {
	unsigned int nr;
	struct op ops[CALLS];
	/* filled by the child */
	long results[CALLS];
	unsigned long start_brk, brk;
	bool done;
	char maps_before[MAPS_BYTES];
	char maps_after[MAPS_BYTES];
};

/* ---- making a script ---- */

/* An address inside something that is the script's own, and room from there on. */
static void pick_range(struct rnd *rnd, const struct script *s, struct op *op)
{
	unsigned int i = s->nr ? rnd_below(rnd, s->nr) : 0;
	const struct op *from = &s->ops[i];
	unsigned long pages;

	if (s->nr && rnd_below(rnd, 3) && from->kind == OP_MMAP && from->len &&
	    from->len < 1UL << 30) {
		pages = (from->len + P - 1) / P;
		op->base = (int)i;
		op->offset = rnd_below(rnd, (u32)pages) * P;
		op->len = (1 + rnd_below(rnd, (u32)(pages - op->offset / P))) * P;
		return;
	}
	op->base = -2;
	op->offset = rnd_below(rnd, ARENA_PAGES) * P;
	op->len = (1 + rnd_below(rnd, (u32)min(12UL, ARENA_PAGES - op->offset / P))) * P;
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

/* Numbers that ought to be refused, or that round in a special way. */
static void make_odd(struct rnd *rnd, struct op *op)
{
	static const unsigned long numbers[] = {
		0, 1, P - 1, P + 1, 0x7fffffffe000, 0x7ffffffff000, 0x800000000000, 1UL << 63,
		~0UL, ~0UL - P + 1, ~0UL - P,
	};

	switch (rnd_below(rnd, 4)) {
	case 0:
		op->len = numbers[rnd_below(rnd, ARRAY_SIZE(numbers))];
		/* At a real place only what wraps around: it must not reach what is not ours. */
		if (op->kind != OP_MMAP && op->len > P && op->len < ~0UL - P)
			op->len = 0;
		if ((op->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && op->len > P)
			op->len = 0;
		break;
	case 1:
		op->offset += 1 + rnd_below(rnd, P - 1);
		if (op->len > P)
			op->len -= P;
		break;
	case 2:
		op->prot |= 1UL << (3 + rnd_below(rnd, 20));
		op->flags ^= 1UL << rnd_below(rnd, 4);
		break;
	default:
		op->pgoff_bytes = numbers[rnd_below(rnd, ARRAY_SIZE(numbers))];
	}
}

static void make_mmap(struct rnd *rnd, const struct script *s, struct op *op)
{
	static const unsigned long extras[] = {
		MAP_NORESERVE, MAP_STACK, MAP_POPULATE, MAP_GROWSDOWN, MAP_LOCKED, MAP_32BIT,
		0, 0, 0, 0, 0, 0,
	};

	op->prot = pick_prot(rnd);
	op->flags = rnd_below(rnd, 5) ? MAP_PRIVATE : rnd_below(rnd, 4) ? MAP_SHARED :
		    MAP_SHARED_VALIDATE;
	if (rnd_below(rnd, 4)) {
		op->flags |= MAP_ANONYMOUS;
	} else {
		op->file = rnd_below(rnd, 3) ? FILE_RW : FILE_RDONLY;
		op->pgoff_bytes = rnd_below(rnd, FILE_PAGES) * P;
	}
	op->flags |= extras[rnd_below(rnd, ARRAY_SIZE(extras))];
	switch (rnd_below(rnd, 5)) {
	case 0:
	case 1:
		pick_range(rnd, s, op);
		op->flags |= rnd_below(rnd, 3) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
		break;
	case 2:
		pick_range(rnd, s, op);
		op->len = pick_length(rnd);
		break;
	default:
		op->base = -1;
		op->offset = 0;
		op->len = pick_length(rnd);
	}
}

static void make_op(struct rnd *rnd, const struct script *s, struct op *op)
{
	unsigned int dice = rnd_below(rnd, 100);

	*op = (struct op) { .base = -1 };
	if (dice < 45) {
		op->kind = OP_MMAP;
		make_mmap(rnd, s, op);
	} else if (dice < 58) {
		op->kind = OP_MUNMAP;
		pick_range(rnd, s, op);
	} else if (dice < 75) {
		op->kind = OP_MPROTECT;
		op->prot = pick_prot(rnd);
		pick_range(rnd, s, op);
	} else if (dice < 80) {
		op->kind = OP_BRK;
		op->base = -3;
		op->offset = rnd_below(rnd, 64 * P);
		return;
	} else {
		op->kind = dice < 92 ? OP_POKE : OP_PEEK;
		pick_range(rnd, s, op);
		op->offset += rnd_below(rnd, P);
		op->len = rnd_below(rnd, 256);
		return;
	}
	if (!rnd_below(rnd, 12))
		make_odd(rnd, op);
}

static void make_script(struct script *s, u64 seed)
{
	struct rnd rnd;

	memset(s, 0, offsetof(struct script, maps_before));
	rnd_seed(&rnd, seed);
	while (s->nr < CALLS) {
		make_op(&rnd, s, &s->ops[s->nr]);
		s->nr++;
	}
}

static unsigned long address_of(const struct script *s, const long *results, const struct op *op)
{
	switch (op->base) {
	case -1:
		return op->offset;
	case -2:
		return ARENA + op->offset;
	case -3:
		return s->brk + op->offset;
	default:
		/* A mapping that failed has no place: its number is refused on both sides alike. */
		return results[op->base] < 0 ? ARENA + (op->offset & (P - 1)) :
		       (unsigned long)results[op->base] + op->offset;
	}
}

/* ---- the host's side: no library calls once the maps are noted ---- */

static long raw(long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
		unsigned long e, unsigned long f)
{
	long ret = syscall(nr, a, b, c, d, e, f);

	return ret == -1 ? -errno : ret;
}

static void note_file(const char *path, char *text, size_t size)
{
	int fd = (int)syscall(SYS_open, path, O_RDONLY);
	size_t at = 0;
	long got;

	while (at + 1 < size && (got = syscall(SYS_read, fd, text + at, size - 1 - at)) > 0)
		at += (size_t)got;
	text[at] = '\0';
	syscall(SYS_close, fd);
}

struct host_files {
	int rw, rdonly, bytes, sink;
};

static long host_call(const struct script *s, const struct op *op, const struct host_files *fds)
{
	unsigned long addr = address_of(s, s->results, op);
	int fd = op->file == FILE_RW ? fds->rw : op->file == FILE_RDONLY ? fds->rdonly : -1;
	unsigned char byte = 0;
	long ret;

	switch (op->kind) {
	case OP_MMAP:
		return raw(SYS_mmap, addr, op->len, op->prot, op->flags, (unsigned long)(long)fd,
			   op->pgoff_bytes);
	case OP_MUNMAP:
		return raw(SYS_munmap, addr, op->len, 0, 0, 0, 0);
	case OP_MPROTECT:
		return raw(SYS_mprotect, addr, op->len, op->prot, 0, 0, 0);
	case OP_BRK:
		return raw(SYS_brk, addr, 0, 0, 0, 0, 0);
	case OP_POKE:
		return raw(SYS_pread64, (unsigned long)fds->bytes, addr, 1, op->len, 0, 0);
	default:
		ret = raw(SYS_pwrite64, (unsigned long)fds->sink, addr, 1, 0, 0, 0);
		if (ret != 1)
			return ret;
		raw(SYS_pread64, (unsigned long)fds->sink, (unsigned long)&byte, 1, 0, 0, 0);
		return byte;
	}
}

static unsigned long start_brk_of_stat(const char *stat)
{
	const char *at = strrchr(stat, ')');
	unsigned int field;

	/* The name is field 2; start_brk is field 47. */
	for (field = 2; field < 47; field++)
		at = strchr(at + 1, ' ');
	return strtoul(at + 1, NULL, 10);
}

static int open_memfd(const char *name, size_t pages)
{
	int fd = memfd_create(name, 0);

	if (fd < 0 || ftruncate(fd, (off_t)(pages * P)))
		_exit(3);
	return fd;
}

static int child_main(int fd)
{
	struct script *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct host_files fds;
	char path[64];
	unsigned int i;

	if (s == MAP_FAILED)
		return 3;
	fds.rw = open_memfd("rw", FILE_PAGES);
	fds.bytes = open_memfd("bytes", 1);
	fds.sink = open_memfd("sink", 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds.rw);
	fds.rdonly = open(path, O_RDONLY);
	for (i = 0; i < 256; i++) {
		unsigned char byte = (unsigned char)i;

		if (pwrite(fds.bytes, &byte, 1, i) != 1)
			return 3;
	}
	note_file("/proc/self/stat", s->maps_before, MAPS_BYTES);
	s->start_brk = start_brk_of_stat(s->maps_before);
	s->brk = (unsigned long)syscall(SYS_brk, 0);
	note_file("/proc/self/maps", s->maps_before, MAPS_BYTES);
	for (i = 0; i < s->nr; i++)
		s->results[i] = host_call(s, &s->ops[i], &fds);
	note_file("/proc/self/maps", s->maps_after, MAPS_BYTES);
	s->done = true;
	_exit(0);
}

static void run_on_host(int fd)
{
	struct rlimit stack = { .rlim_cur = 8UL << 20, .rlim_max = RLIM_INFINITY };
	char number[16];
	int status;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", fd);
	pid = fork();
	if (!pid) {
		if (setrlimit(RLIMIT_STACK, &stack)) {
			getrlimit(RLIMIT_STACK, &stack);
			stack.rlim_cur = 8UL << 20;
			setrlimit(RLIMIT_STACK, &stack);
		}
		personality(ADDR_NO_RANDOMIZE);
		execl("/proc/self/exe", "test_referee", "--child", number, (char *)NULL);
		_exit(3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- karc's side ---- */

static struct script *script;		/* what the body below runs */
static u64 script_seed;

struct line {
	unsigned long start, end, offset, ino;
	char perms[8];
	char name[256];
};

static const char *parse_line(const char *text, struct line *line)
{
	int used = 0;

	if (!*text)
		return NULL;
	line->name[0] = '\0';
	if (sscanf(text, "%lx-%lx %7s %lx %*s %lu %n", &line->start, &line->end, line->perms,
		   &line->offset, &line->ino, &used) < 5)
		fail_msg("no maps line: %.60s", text);
	text += used;
	/* The space before the name ate the newline of a line without one. */
	if (text[-1] != '\n') {
		sscanf(text, "%255[^\n]", line->name);
		text = strchr(text, '\n') + 1;
	}
	return text;
}

static unsigned long prot_of(const char *perms)
{
	return (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) |
	       (perms[2] == 'x' ? PROT_EXEC : 0);
}

/* One mapping that the child had from the start. */
static void import_line(struct mm_struct *mm, const struct line *line)
{
	unsigned long len = line->end - line->start, flags = MAP_FIXED_NOREPLACE, prot;
	struct file *file = NULL;

	prot = prot_of(line->perms);
	if (!strcmp(line->name, "[heap]")) {
		assert_int_equal(ksys_brk(mm, script->brk), script->brk);
		assert_true(poke(mm, line->start, 1));
		return;
	}
	if (!strcmp(line->name, "[stack]"))
		flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN;
	else if (!line->name[0])
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	else
		file = new_file(line->name, (line->offset + len) / P);
	if (file)
		flags |= line->perms[3] == 's' ? MAP_SHARED : MAP_PRIVATE;
	assert_int_equal(ksys_mmap(mm, line->start, len, prot, flags, file,
				   file ? line->offset : 0), line->start);
	if (file)
		fput(file);
	else if (prot & PROT_WRITE)
		assert_true(poke(mm, line->start, 1));
}

static struct mm_struct *import(void)
{
	const struct mm_profile *profile;
	struct mm_struct *mm = mm_alloc();
	const char *text = script->maps_before;
	unsigned int major = 6, minor = 1;
	struct utsname host;
	struct line line;

	assert_non_null(mm);
	uname(&host);
	sscanf(host.release, "%u.%u", &major, &minor);
	profile = mm_profile_for(major, minor);
	mm_set_layout(mm, profile, NULL, false);
	mm_flag_assign(mm, MMF_CAPABLE, geteuid() == 0);
	mm->start_brk = mm->brk = script->start_brk;
	while ((text = parse_line(text, &line)))
		if (strcmp(line.name, "[vsyscall]"))
			import_line(mm, &line);
	return mm;
}

struct karc_files {
	struct file *rw, *rdonly;
};

static long karc_call(struct mm_struct *mm, const struct op *op, const long *results,
		      const struct karc_files *files)
{
	unsigned long addr = address_of(script, results, op);
	struct file *file = op->file == FILE_RW ? files->rw :
			    op->file == FILE_RDONLY ? files->rdonly : NULL;
	int byte;

	switch (op->kind) {
	case OP_MMAP:
		return ksys_mmap(mm, addr, op->len, op->prot, op->flags, file, op->pgoff_bytes);
	case OP_MUNMAP:
		return ksys_munmap(mm, addr, op->len);
	case OP_MPROTECT:
		return ksys_mprotect(mm, addr, op->len, op->prot);
	case OP_BRK:
		return ksys_brk(mm, addr);
	case OP_POKE:
		return poke(mm, addr, (unsigned char)op->len) ? 1 : -EFAULT;
	default:
		byte = peek(mm, addr);
		return byte < 0 ? -EFAULT : byte;
	}
}

static const char *op_text(const struct op *op, unsigned long addr)
{
	static const char *const names[OP_KINDS] = {
		"mmap", "munmap", "mprotect", "brk", "poke", "peek",
	};
	static char text[160];

	snprintf(text, sizeof(text), "%s(%lx, len %lx, prot %lx, flags %lx, file %d, offset %lx)",
		 names[op->kind], addr, op->len, op->prot, op->flags, op->file, op->pgoff_bytes);
	return text;
}

static void compare_maps(struct mm_struct *mm, unsigned int calls)
{
	const char *text = script->maps_after;
	struct vm_area_struct *vma = vma_first(mm);
	char ours[MAPS_LINE_MAX];
	struct line line;

	while ((text = parse_line(text, &line))) {
		if (!strcmp(line.name, "[vsyscall]"))
			continue;
		if (vma)
			maps_line(vma, ours);
		if (!vma || vma->vm_start != line.start || vma->vm_end != line.end ||
		    !strstr(ours, line.perms))
			fail_msg("seed %llu: after %u calls the host has %lx-%lx %s %s, karc %s",
				 (unsigned long long)script_seed, calls, line.start, line.end,
				 line.perms, line.name, vma ? ours : "nothing");
		vma = vma_next(vma);
	}
	assert_null(vma);
}

/* The room's own rules, Committed_AS included. */
static void check_space(unsigned int call)
{
	struct check_report report = { 0 };

	space_room.check(this_machine(), &report);
	if (report.nr_violations)
		fail_msg("seed %llu, after call %u: %s", (unsigned long long)script_seed, call,
			 report.last);
}

static void run_on_karc(void)
{
	struct karc_files files = { .rw = new_file("rw", FILE_PAGES) };
	struct mm_struct *mm = import();
	long *results = calloc(script->nr, sizeof(*results));
	const struct op *op;
	unsigned int i;

	files.rdonly = reopen(files.rw, O_RDONLY);
	for (i = 0; i < script->nr; i++) {
		op = &script->ops[i];
		results[i] = karc_call(mm, op, results, &files);
		if (results[i] != script->results[i])
			fail_msg("seed %llu, call %u: %s: the host says %lx (%ld), karc %lx (%ld)",
				 (unsigned long long)script_seed, i,
				 op_text(op, address_of(script, results, op)), script->results[i],
				 script->results[i], results[i], results[i]);
		if (i % 16 == 0)
			check_space(i);
	}
	check_space(script->nr);
	compare_maps(mm, script->nr);
	mmput(mm);
	fput(files.rdonly);
	fput(files.rw);
	free(results);
}

/*
 * A referee must be one whose rules karc claims to know: the kernels that profile.c's newest row was
 * checked on, with the settings that they come with. On others a difference is told, not held
 * against karc.
 */
static bool referee_is_known(void)
{
	static const struct {
		const char *path;
		long value;
	} settings[] = {
		{ "/proc/sys/vm/overcommit_memory", 0 },
		{ "/proc/sys/vm/legacy_va_layout", 0 },
		{ "/proc/sys/vm/max_map_count", 65530 },
	};
	unsigned int major = 0, minor = 0, i;
	struct utsname host;

	uname(&host);
	if (sscanf(host.release, "%u.%u", &major, &minor) != 2 || major != 6 || minor < 16 ||
	    minor > 18 || access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK))
		return false;
	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		FILE *file = fopen(settings[i].path, "r");
		long value = -1;
		bool read = file && fscanf(file, "%ld", &value) == 1;

		if (file)
			fclose(file);
		if (!read || value != settings[i].value)
			return false;
	}
	return true;
}

/* The largest calls must be judged by equal amounts of memory. */
static const struct machine_config config = { .mem_bytes = 1ULL << 30 };

static void random_calls_answer_as_on_the_host(void **state)
{
	u64 seed = getenv("KARC_TEST_SEED") ? test_seed() : (u64)time(NULL) * 1000;
	struct fixture_verdict verdict;
	unsigned int round;
	int fd;

	(void)state;
	if (SANITIZED)
		skip();
	fd = memfd_create("script", 0);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(struct script)), 0);
	script = mmap(NULL, sizeof(*script), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(script != MAP_FAILED);
	printf("seeds %llu .. %llu\n", (unsigned long long)seed,
	       (unsigned long long)seed + ROUNDS - 1);
	for (round = 0; round < ROUNDS; round++) {
		script_seed = seed + round;
		make_script(script, script_seed);
		run_on_host(fd);
		assert_true(script->done);
		verdict = fixture_run_config(&config, run_on_karc);
		if (verdict.red && !referee_is_known()) {
			printf("this kernel answers otherwise, KARC_TEST_SEED=%llu: %s\n",
			       (unsigned long long)script_seed, verdict.reason);
			skip();
		}
		if (verdict.red)
			fail_msg("KARC_TEST_SEED=%llu: %s", (unsigned long long)script_seed,
				 verdict.reason);
	}
	munmap(script, sizeof(*script));
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_answer_as_on_the_host),
	};

	if (argc == 3 && !strcmp(argv[1], "--child"))
		return child_main(atoi(argv[2]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
