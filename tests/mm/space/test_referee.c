/* SPDX-License-Identifier: MIT */
/*
 * Goal: the host kernel is the referee. The same random calls run in a real child process (without
 * address randomisation) and in karc; every result and the final maps must agree.
 *
 * Method: the child is this program again. It notes its own maps before the first call, karc
 * builds the same ones, so that placement starts from equal ground. Addresses of calls are
 * given as "result of call i plus offset" or as offsets into an arena that is free at the start;
 * so nothing of the child itself is ever hit. After each call the texts of both maps files are
 * compared too, but for devices and inodes. A script that fails is made short before it is shown.
 * Some children lack the capability to lock memory, or have limits. Seed: KARC_TEST_SEED; number
 * of scripts: KARC_REFEREE_ROUNDS. Under the sanitizers, which fill the address space, there is
 * nothing to compare.
 */
#define _GNU_SOURCE
#include "referee.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <karc/mm/cache/shmem.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
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

#define ROUNDS		40u

#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#define PR_SET_VMA_ANON_NAME	0
#endif
#ifndef SYS_mseal
#define SYS_mseal		462
#endif
#ifndef SYS_mlock2
#define SYS_mlock2		325
#endif

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
	int rw, rdonly, disk, bytes, sink;
};

/* The answer of mincore: 0 becomes a number made of the vector. */
static long fold_vector(long ret, const unsigned char *vec, unsigned long len)
{
	unsigned long i;
	long fold = 0;

	for (i = 0; !ret && i < (len + P - 1) / P; i++)
		fold = (fold * 3 + (vec[i] & 1)) & 0x3fffffffffff;
	return ret ? ret : fold;
}

static long host_peek(const struct host_files *fds, unsigned long addr)
{
	unsigned char byte = 0;
	long ret = raw(SYS_pwrite64, (unsigned long)fds->sink, addr, 1, 0, 0, 0);

	if (ret != 1)
		return ret;
	raw(SYS_pread64, (unsigned long)fds->sink, (unsigned long)&byte, 1, 0, 0, 0);
	return byte;
}

static long host_call(const struct script *s, const struct op *op, const struct host_files *fds)
{
	unsigned long addr = address_of(s, s->results, &op->at);
	unsigned long to = address_of(s, s->results, &op->to);
	const int by_file[] = { -1, fds->rw, fds->rdonly, fds->disk };
	int fd = by_file[op->file];
	unsigned char vec[VEC_PAGES];
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
	case OP_PEEK:
		return host_peek(fds, addr);
	case OP_MREMAP:
		return raw(SYS_mremap, addr, op->len, op->new_len, op->flags, to, 0);
	case OP_MADVISE:
		return raw(SYS_madvise, addr, op->len, op->flags, 0, 0, 0);
	case OP_MLOCK:
		return raw(SYS_mlock, addr, op->len, 0, 0, 0, 0);
	case OP_MLOCK2:
		return raw(SYS_mlock2, addr, op->len, op->flags, 0, 0, 0);
	case OP_MUNLOCK:
		return raw(SYS_munlock, addr, op->len, 0, 0, 0, 0);
	case OP_MLOCKALL:
		return raw(SYS_mlockall, op->flags, 0, 0, 0, 0, 0);
	case OP_MUNLOCKALL:
		return raw(SYS_munlockall, 0, 0, 0, 0, 0, 0);
	case OP_MSYNC:
		return raw(SYS_msync, addr, op->len, op->flags, 0, 0, 0);
	case OP_MINCORE:
		ret = raw(SYS_mincore, addr, op->len, (unsigned long)vec, 0, 0, 0);
		return fold_vector(ret, vec, op->len);
	case OP_REMAP_PAGES:
		return raw(SYS_remap_file_pages, addr, op->len, op->prot, op->pgoff_bytes / P, 0,
			   0);
	case OP_MSEAL:
		return raw(SYS_mseal, addr, op->len, op->flags, 0, 0, 0);
	case OP_NAME:
		return raw(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, op->len,
			   (unsigned long)given_names[op->flags % 3], 0);
	default:
		return 0;
	}
}

static unsigned long number_of_stat(const char *stat, unsigned int wanted)
{
	const char *at = strrchr(stat, ')');
	unsigned int field;

	/* The name is field 2. */
	for (field = 2; field < wanted; field++)
		at = strchr(at + 1, ' ');
	return strtoul(at + 1, NULL, 10);
}

/* Sizes in pages, as /proc/self/statm has them: all, and data with stack. */
static void note_sizes(unsigned long *all, unsigned long *data)
{
	char text[128];
	unsigned int i;
	char *at = text;

	note_file("/proc/self/statm", text, sizeof(text));
	*all = strtoul(at, &at, 10);
	for (i = 1; i < 6; i++)
		*data = strtoul(at, &at, 10);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (syscall(SYS_capset, &header, none))
		_exit(3);
}

static void limit(int what, unsigned long pages)
{
	struct rlimit rlim = { .rlim_cur = pages * P, .rlim_max = RLIM_INFINITY };

	if (getrlimit(what, &rlim))
		_exit(3);
	rlim.rlim_cur = pages * P;
	if (setrlimit(what, &rlim))
		_exit(3);
}

/* Rights and limits of @s, the last things before the calls. */
static void become_limited(struct script *s)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (s->memlock_pages || !s->capable)
		limit(RLIMIT_MEMLOCK, s->memlock_pages);
	if (!s->capable)
		drop_capabilities();
	note_sizes(&s->vm_pages, &s->data_pages);
	if (s->as_more_pages)
		limit(RLIMIT_AS, s->vm_pages + s->as_more_pages);
	if (s->data_more_pages)
		limit(RLIMIT_DATA, s->data_pages + s->data_more_pages);
}

static int open_memfd(const char *name, size_t pages)
{
	int fd = memfd_create(name, 0);

	if (fd < 0 || ftruncate(fd, (off_t)(pages * P)))
		_exit(3);
	return fd;
}

/* Private pages tie a mapping to its neighbours: have one in each that may be written. */
static void touch_own_memory(const char *maps)
{
	const char *line, *perms;
	volatile char *byte;

	for (line = maps; *line; line = strchr(line, '\n') + 1) {
		perms = strchr(line, ' ') + 1;
		if (strncmp(perms, "rw-p", 4))
			continue;
		byte = (volatile char *)strtoul(line, NULL, 16);
		*byte = *byte;
	}
}

/* What a fork of this process finds: its maps, and the first bytes of the arena's pages. */
static void note_fork(struct script *s, const struct host_files *fds)
{
	long pid = raw(SYS_fork, 0, 0, 0, 0, 0, 0);
	unsigned int i;

	if (pid > 0) {
		raw(SYS_wait4, (unsigned long)pid, 0, 0, 0, 0, 0);
		return;
	}
	note_file("/proc/self/maps", s->maps_fork, MAPS_BYTES);
	s->fork_fold = 0;
	for (i = 0; i < ARENA_PAGES; i++)
		s->fork_fold = fold_byte(s->fork_fold, host_peek(fds, ARENA + i * P));
	raw(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

static int child_main(int fd)
{
	struct script *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct host_files fds;
	unsigned long unused;
	char path[64];
	unsigned int i;

	if (s == MAP_FAILED)
		return 3;
	fds.rw = open_memfd("rw", FILE_PAGES);
	fds.bytes = open_memfd("bytes", 1);
	fds.sink = open_memfd("sink", 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds.rw);
	fds.rdonly = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->disk_fd);
	fds.disk = open(path, O_RDONLY);
	for (i = 0; i < 256; i++) {
		unsigned char byte = (unsigned char)i;

		if (pwrite(fds.bytes, &byte, 1, i) != 1)
			return 3;
	}
	note_file("/proc/self/stat", s->maps_before, MAPS_BYTES);
	s->start_brk = number_of_stat(s->maps_before, 47);
	s->start_stack = number_of_stat(s->maps_before, 28);
	s->brk = (unsigned long)syscall(SYS_brk, 0);
	note_file("/proc/self/maps", s->maps_before, MAPS_BYTES);
	touch_own_memory(s->maps_before);
	become_limited(s);
	note_file("/proc/self/maps", s->maps_before, MAPS_BYTES);
	for (i = 0; i < s->nr; i++) {
		s->results[i] = host_call(s, &s->ops[i], &fds);
		/* As long as note_at is not reached the text is only needed for its hash. */
		if (i <= s->note_at)
			note_file("/proc/self/maps", s->maps_after, MAPS_BYTES);
		s->maps_hash[i] = maps_hash(s->maps_after);
	}
	note_sizes(&s->end_vm_pages, &unused);
	note_fork(s, &fds);
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
	if (!strncmp(line->perms, "rw-p", 4))
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
	mm_flag_assign(mm, MMF_CAPABLE, true);
	mm->start_brk = mm->brk = script->start_brk;
	mm->start_stack = script->start_stack;
	while ((text = parse_line(text, &line)))
		if (strcmp(line.name, "[vsyscall]"))
			import_line(mm, &line);
	mm_flag_assign(mm, MMF_CAPABLE, script->capable);
	assert_int_equal(mm->total_vm, script->vm_pages);
	assert_int_equal(mm->data_vm + mm->stack_vm, script->data_pages);
	if (script->memlock_pages || !script->capable)
		mm->rlim.memlock = script->memlock_pages * P;
	if (script->as_more_pages)
		mm->rlim.as = (script->vm_pages + script->as_more_pages) * P;
	if (script->data_more_pages)
		mm->rlim.data = (script->data_pages + script->data_more_pages) * P;
	return mm;
}

struct karc_files {
	struct file *rw, *rdonly, *disk;
};

static long karc_call(struct mm_struct *mm, const struct op *op, const long *results,
		      const struct karc_files *files)
{
	unsigned long addr = address_of(script, results, &op->at);
	unsigned long to = address_of(script, results, &op->to);
	struct file *const by_file[] = { NULL, files->rw, files->rdonly, files->disk };
	struct file *file = by_file[op->file];
	unsigned char vec[VEC_PAGES];
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
	case OP_PEEK:
		byte = peek(mm, addr);
		return byte < 0 ? -EFAULT : byte;
	case OP_MREMAP:
		return ksys_mremap(mm, addr, op->len, op->new_len, op->flags, to);
	case OP_MADVISE:
		return ksys_madvise(mm, addr, op->len, (int)op->flags);
	case OP_MLOCK:
		return ksys_mlock(mm, addr, op->len);
	case OP_MLOCK2:
		return ksys_mlock2(mm, addr, op->len, (int)op->flags);
	case OP_MUNLOCK:
		return ksys_munlock(mm, addr, op->len);
	case OP_MLOCKALL:
		return ksys_mlockall(mm, (int)op->flags);
	case OP_MUNLOCKALL:
		return ksys_munlockall(mm);
	case OP_MSYNC:
		return ksys_msync(mm, addr, op->len, (int)op->flags);
	case OP_MINCORE:
		return fold_vector(ksys_mincore(mm, addr, op->len, vec), vec, op->len);
	case OP_REMAP_PAGES:
		return ksys_remap_file_pages(mm, addr, op->len, op->prot, op->pgoff_bytes / P, 0);
	case OP_MSEAL:
		return ksys_mseal(mm, addr, op->len, op->flags);
	case OP_NAME:
		return ksys_set_anon_name(mm, addr, op->len, given_names[op->flags % 3]);
	default:
		return 0;
	}
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

static char karc_maps[MAPS_BYTES];	/* the text after the last call */
static unsigned int failed_at;		/* the call that went wrong, or script->nr */
static bool failed_in_maps;

static void show_maps_difference(void)
{
	char host[MAPS_LINE_MAX], ours[MAPS_LINE_MAX];
	unsigned int i;

	for (i = 0;; i++) {
		maps_line_at(script->maps_after, i, host);
		maps_line_at(karc_maps, i, ours);
		if (strcmp(host, ours) || !host[0])
			break;
	}
	printf("  maps differ: the host has  %s\n               karc has      %s\n", host, ours);
}

/* Compare after call @i; the answers stay in karc_maps. */
static void compare(struct mm_struct *mm, unsigned int i, const long *results)
{
	bool maps_equal;

	maps_text(mm, karc_maps, sizeof(karc_maps));
	maps_equal = maps_hash(karc_maps) == script->maps_hash[i];
	if (results[i] == script->results[i] && maps_equal)
		return;
	failed_at = i;
	failed_in_maps = !maps_equal;
	fail_msg("seed %llu, call %u: %s: the host says %lx (%ld), karc %lx (%ld)%s",
		 (unsigned long long)script_seed, i, op_text(script, results, &script->ops[i]),
		 script->results[i], script->results[i], results[i], results[i],
		 maps_equal ? "" : "; the maps differ");
}

/* A fork at the end: which mappings it has, and what is in them. */
static void compare_fork(struct mm_struct *mm)
{
	struct mm_struct *child = dup_mm(mm);
	char host[MAPS_LINE_MAX], ours[MAPS_LINE_MAX];
	unsigned int i = 0;
	long fold = 0;

	assert_non_null(child);
	maps_text(child, karc_maps, sizeof(karc_maps));
	do {
		maps_line_at(script->maps_fork, i, host);
		maps_line_at(karc_maps, i++, ours);
		if (strcmp(host, ours))
			fail_msg("maps of a fork: the host has %s, karc %s", host, ours);
	} while (host[0]);
	for (i = 0; i < ARENA_PAGES; i++)
		fold = fold_byte(fold, peek(child, ARENA + i * P));
	if (fold != script->fork_fold)
		fail_msg("a fork reads other bytes than on the host");
	mmput(child);
}

/* The file on the disk, all of it in memory as it is on the host that has just written it. */
static struct file *open_disk_file(void)
{
	struct file *rw = new_file(script->disk_name, FILE_PAGES), *rdonly;
	unsigned char byte;
	loff_t pos;

	file_inode(rw)->placement_align = HUGE_PAGES * P;
	for (pos = 0; pos < (loff_t)(FILE_PAGES * P); pos += (loff_t)P - 1)
		assert_int_equal(kernel_read(rw, &byte, 1, &pos), 1);
	rdonly = reopen(rw, O_RDONLY);
	fput(rw);
	return rdonly;
}

static void run_on_karc(void)
{
	struct karc_files files = { .rw = ksys_memfd_create("rw", 0) };
	struct mm_struct *mm = import();
	long results[CALLS];
	unsigned int i;

	failed_at = script->nr;
	failed_in_maps = false;
	assert_int_equal(file_truncate(files.rw, FILE_PAGES * P), 0);
	files.rdonly = reopen(files.rw, O_RDONLY);
	if (script->disk_fd >= 0)
		files.disk = open_disk_file();
	for (i = 0; i < script->nr; i++) {
		results[i] = karc_call(mm, &script->ops[i], results, &files);
		compare(mm, i, results);
		if (i % 16 == 0)
			check_space(i);
	}
	check_space(script->nr);
	assert_int_equal(mm->total_vm, script->end_vm_pages);
	compare_fork(mm);
	mmput(mm);
	fput(files.disk);
	fput(files.rdonly);
	fput(files.rw);
}

/*
 * A referee must be one whose rules karc claims to know: the kernels that profile.c's newest row
 * was checked on, with the settings that they come with. On others a difference is told, not held
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

static struct fixture_verdict run_script(int fd)
{
	script->done = false;
	run_on_host(fd);
	assert_true(script->done);
	return fixture_run_config(&config, run_on_karc);
}

/* Leave out every call without which karc still answers otherwise, and show what is left. */
static void show_short_script(int fd)
{
	unsigned int i, j;
	struct op op;

	if (failed_at < script->nr)
		script->nr = failed_at + 1;
	for (i = script->nr - 1; i-- > 0;) {
		op = script->ops[i];
		script->ops[i].kind = OP_NONE;
		script->note_at = script->nr - 1;
		if (!run_script(fd).red)
			script->ops[i] = op;
		else if (failed_at < script->nr)
			script->nr = failed_at + 1;
		i = min(i, script->nr - 1);
	}
	script->note_at = script->nr - 1;
	run_script(fd);
	printf("the shortest script that differs (%s, memlock %lu, as +%lu, data +%lu):\n",
	       script->capable ? "capable" : "not capable", script->memlock_pages,
	       script->as_more_pages, script->data_more_pages);
	for (j = 0; j < script->nr; j++)
		if (script->ops[j].kind != OP_NONE)
			printf("  %3u %s = %lx\n", j, op_text(script, script->results,
			       &script->ops[j]), script->results[j]);
	if (failed_in_maps)
		show_maps_difference();
}

/* A nameless file where the test runs, if that is a file system with known rules; or -1. */
static int make_disk_file(void)
{
	static const char zeroes[FILE_PAGES * P];
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	struct statfs fs;

	if (fd < 0)
		return -1;
	if (fstatfs(fd, &fs) || (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC) ||
	    write(fd, zeroes, sizeof(zeroes)) != sizeof(zeroes)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* As maps files show it. */
static void note_disk_name(struct script *s)
{
	char path[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->disk_fd);
	len = readlink(path, s->disk_name, sizeof(s->disk_name) - 1);
	assert_true(s->disk_fd < 0 || len > 0);
	s->disk_name[max(len, 0L)] = '\0';
}

/* Whether a page of the test's own may be advised and named so. */
static struct host_has host_has(void)
{
	void *page = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct host_has has;

	assert_true(page != MAP_FAILED);
	has.ksm = !madvise(page, P, MADV_UNMERGEABLE);
	has.swap = !madvise(page, P, MADV_WILLNEED);
	has.names = !prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, page, P, "x");
	munmap(page, P);
	has.disk_fd = make_disk_file();
	return has;
}

static void random_calls_answer_as_on_the_host(void **state)
{
	u64 seed = getenv("KARC_TEST_SEED") ? test_seed() : (u64)time(NULL) * 1000;
	const char *wanted = getenv("KARC_REFEREE_ROUNDS");
	unsigned int round, rounds = wanted ? (unsigned int)atoi(wanted) : ROUNDS;
	struct fixture_verdict verdict;
	struct host_has has;
	int fd;

	(void)state;
	if (SANITIZED)
		skip();
	has = host_has();
	fd = memfd_create("script", 0);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(struct script)), 0);
	script = mmap(NULL, sizeof(*script), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(script != MAP_FAILED);
	printf("seeds %llu .. %llu\n", (unsigned long long)seed,
	       (unsigned long long)seed + rounds - 1);
	for (round = 0; round < rounds; round++) {
		script_seed = seed + round;
		make_script(script, script_seed, geteuid() == 0, &has);
		note_disk_name(script);
		verdict = run_script(fd);
		if (!verdict.red)
			continue;
		if (referee_is_known())
			show_short_script(fd);
		printf("KARC_TEST_SEED=%llu: %s\n", (unsigned long long)script_seed,
		       verdict.reason);
		if (!referee_is_known()) {
			printf("this kernel answers otherwise\n");
			skip();
		}
		fail_msg("KARC_TEST_SEED=%llu: %s", (unsigned long long)script_seed,
			 verdict.reason);
	}
	munmap(script, sizeof(*script));
	close(has.disk_fd);
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
