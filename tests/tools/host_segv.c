/* SPDX-License-Identifier: MIT */
/*
 * host_segv.c - the uses of pointers that `karc run segv` has, done for real on the host kernel
 *
 *	host_segv CASE		one JSON object: what signal came, with what, after how many faults;
 *				exit status 3 with a reason: the host does not allow to try
 *
 * Nothing of karc is linked in. Each case prepares memory as its namesake in karc does, uses the
 * pointer once with a SA_SIGINFO handler on an alternate stack, and counts the page faults that
 * the kernel handled for this thread meanwhile (getrusage). Everything that measuring touches has
 * been touched by a rehearsal before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNABLE		3	/* exit status: this host cannot be asked, the reason on stderr */
#define PAGE		4096UL
#define VALUE		42
#define STORED		7
#define ALT_STACK	(64UL << 10)
#define THREAD_STACK	(32 * PAGE)

typedef volatile int __attribute__((aligned(1))) use_int;

enum use { READ, WRITE, FETCH };

struct result {
	unsigned long pointer, sig_addr;
	int signo, sig_code;
	long faults;
	int value, sharer_value;
	unsigned long frame_before, frame_after;
};

static sigjmp_buf back;
static volatile sig_atomic_t got_signo, got_code;
static volatile unsigned long got_addr;
static volatile long faults_then;

static void die(const char *what)
{
	fprintf(stderr, "host_segv: %s: %s\n", what, strerror(errno));
	exit(2);
}

static long faults_now(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)context;
	faults_then = faults_now();
	got_signo = signo;
	got_code = info->si_code;
	got_addr = (unsigned long)info->si_addr;
	siglongjmp(back, 1);
}

static void install(void)
{
	stack_t alt = { .ss_sp = malloc(ALT_STACK), .ss_size = ALT_STACK };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (!alt.ss_sp)
		die("malloc");
	memset(alt.ss_sp, 1, ALT_STACK);
	if (sigaltstack(&alt, NULL) || sigaction(SIGSEGV, &action, NULL) ||
	    sigaction(SIGBUS, &action, NULL))
		die("sigaction");
}

static void use(unsigned long addr, enum use how)
{
	if (how == READ)
		(void)*(use_int *)addr;
	else if (how == WRITE)
		*(use_int *)addr = STORED;
	else
		((void (*)(void))addr)();
}

static void __attribute__((noinline)) try_use(struct result *r, enum use how)
{
	volatile long before;

	got_signo = got_code = 0;
	got_addr = 0;
	before = faults_now();
	if (!sigsetjmp(back, 1)) {
		use(r->pointer, how);
		faults_then = faults_now();
	}
	r->faults = faults_then - before;
	r->signo = got_signo;
	r->sig_code = got_code;
	r->sig_addr = got_addr;
}

/* Number of the frame behind @addr; 0: none, or not told to this user. */
static unsigned long frame_of(unsigned long addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd >= 0) {
		if (pread(fd, &entry, sizeof(entry), (off_t)(addr / PAGE * 8)) != sizeof(entry))
			entry = 0;
		close(fd);
	}
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

static void measure(struct result *r, unsigned long pointer, enum use how)
{
	static int known = VALUE;
	struct result rehearsal = { .pointer = 1 };

	install();
	try_use(&rehearsal, READ);
	rehearsal.pointer = (unsigned long)&known;
	try_use(&rehearsal, WRITE);
	memset(r, 0, sizeof(*r));
	r->sharer_value = -1;
	r->pointer = pointer;
	if (how != FETCH)
		r->frame_before = frame_of(pointer);
	try_use(r, how);
	if (!r->signo && how != FETCH) {
		r->value = *(use_int *)pointer;
		r->frame_after = frame_of(pointer);
	}
}

/* ---- memory of the program ---- */

static unsigned long map(unsigned long at, unsigned long bytes, int prot)
{
	void *p = mmap((void *)at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS |
		       (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return (unsigned long)p;
}

static unsigned long new_heap(void)
{
	return map(0, 33 * PAGE, PROT_READ | PROT_WRITE);
}

static void store(unsigned long addr, int value)
{
	*(use_int *)addr = value;
}

/* A file of a page and a half, mapped three pages long. */
static unsigned long map_file(int prot, int flags)
{
	char name[] = "/tmp/host_segv.XXXXXX", page[PAGE];
	int fd = mkstemp(name);
	void *p;

	if (fd < 0)
		die("mkstemp");
	unlink(name);
	memset(page, 'a', PAGE);
	if (write(fd, page, PAGE) != (ssize_t)PAGE)
		die("write");
	memset(page, 'b', PAGE / 2);
	if (write(fd, page, PAGE / 2) != (ssize_t)(PAGE / 2))
		die("write");
	p = mmap(NULL, 3 * PAGE, prot, flags, fd, 0);
	if (p == MAP_FAILED)
		die("mmap of a file");
	close(fd);
	return (unsigned long)p;
}

static void stack_range(unsigned long *start, unsigned long *end)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	*start = *end = 0;
	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "[stack]"))
			sscanf(line, "%lx-%lx", start, end);
	if (maps)
		fclose(maps);
	if (!*start)
		die("no [stack]");
}

static void limit_stack(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit))
		die("getrlimit");
	if (limit.rlim_max < 8UL << 20) {
		fprintf(stderr, "the hard RLIMIT_STACK is below 8 MiB\n");
		exit(UNABLE);
	}
	limit.rlim_cur = 8UL << 20;
	if (setrlimit(RLIMIT_STACK, &limit))
		die("setrlimit");
}

/* ---- a second thread ---- */

struct second {
	pthread_t thread;
	sem_t ready, go;
	unsigned long stack, arena, local;
	struct result *result;		/* it uses the pointer itself, or NULL */
};

static void *second_main(void *arg)
{
	struct second *t = arg;
	volatile int local = VALUE;

	t->local = (unsigned long)&local;
	if (t->result)
		store(t->arena, VALUE);
	sem_post(&t->ready);
	sem_wait(&t->go);
	if (t->result)
		measure(t->result, t->arena, READ);
	return NULL;
}

static void start_second(struct second *t, struct result *result)
{
	pthread_attr_t attr;

	memset(t, 0, sizeof(*t));
	t->result = result;
	t->stack = map(0, THREAD_STACK + PAGE, PROT_NONE) + PAGE;
	if (mprotect((void *)t->stack, THREAD_STACK, PROT_READ | PROT_WRITE))
		die("mprotect");
	t->arena = map(0, 4 * PAGE, PROT_READ | PROT_WRITE);
	sem_init(&t->ready, 0, 0);
	sem_init(&t->go, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, (void *)t->stack, THREAD_STACK);
	if (pthread_create(&t->thread, &attr, second_main, t))
		die("pthread_create");
	sem_wait(&t->ready);
}

static void end_second(struct second *t)
{
	sem_post(&t->go);
	pthread_join(t->thread, NULL);
}

/* ---- the cases ---- */

static void mapped(struct result *r)
{
	unsigned long heap = new_heap();

	store(heap, VALUE);
	measure(r, heap, READ);
}

static void stack(struct result *r)
{
	volatile int local = VALUE;

	measure(r, (unsigned long)&local, READ);
}

static void thread_stack(struct result *r)
{
	struct second t;

	start_second(&t, NULL);
	measure(r, t.local, READ);
	end_second(&t);
}

static void thread_heap(struct result *r)
{
	struct second t;

	start_second(&t, NULL);
	measure(r, t.arena, READ);
	end_second(&t);
}

static void guard_page(struct result *r)
{
	struct second t;

	start_second(&t, NULL);
	measure(r, t.stack - 16, WRITE);
	end_second(&t);
}

static void unmapped(struct result *r)
{
	struct second t;

	start_second(&t, r);
	munmap((void *)t.arena, PAGE);
	end_second(&t);
}

static void heap_read(struct result *r)
{
	measure(r, new_heap(), READ);
}

static void heap_write(struct result *r)
{
	measure(r, new_heap(), WRITE);
}

static void heap_zero(struct result *r)
{
	unsigned long heap = new_heap();

	(void)*(use_int *)heap;
	measure(r, heap, WRITE);
}

static void heap_dropped(struct result *r)
{
	unsigned long heap = new_heap();

	store(heap, VALUE);
	if (madvise((void *)heap, PAGE, MADV_DONTNEED))
		die("madvise");
	measure(r, heap, READ);
}

static void heap_exec(struct result *r)
{
	measure(r, new_heap(), FETCH);
}

static void stack_exec(struct result *r)
{
	volatile char local[64] = { 1 };

	measure(r, (unsigned long)local, FETCH);
}

static void stack_grow(struct result *r)
{
	unsigned long start, end;

	limit_stack();
	stack_range(&start, &end);
	measure(r, start - 16 * PAGE, READ);
}

static void stack_limit(struct result *r)
{
	unsigned long start, end;

	limit_stack();
	stack_range(&start, &end);
	measure(r, end - (8UL << 20) - 64 * PAGE, READ);
}

static void stack_gap(struct result *r)
{
	unsigned long start, end;

	limit_stack();
	stack_range(&start, &end);
	map(start - (2UL << 20), PAGE, PROT_READ | PROT_WRITE);
	measure(r, start - (2UL << 20) + (512UL << 10), READ);
}

static void file(struct result *r)
{
	measure(r, map_file(PROT_READ, MAP_SHARED), READ);
}

static void file_tail(struct result *r)
{
	measure(r, map_file(PROT_READ, MAP_SHARED) + PAGE + PAGE / 2, READ);
}

static void file_end(struct result *r)
{
	measure(r, map_file(PROT_READ, MAP_SHARED) + 2 * PAGE, READ);
}

static void file_write(struct result *r)
{
	unsigned long notes = map_file(PROT_READ, MAP_SHARED);

	(void)*(use_int *)notes;
	measure(r, notes, WRITE);
}

static void data_write(struct result *r)
{
	measure(r, map_file(PROT_READ | PROT_WRITE, MAP_PRIVATE), WRITE);
}

static void file_shared(struct result *r)
{
	measure(r, map_file(PROT_READ | PROT_WRITE, MAP_SHARED), WRITE);
}

static void code_write(struct result *r)
{
	measure(r, (unsigned long)code_write & ~(PAGE - 1), WRITE);
}

static void cow_copy(struct result *r)
{
	struct result *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				     -1, 0);
	unsigned long heap = new_heap();
	pid_t child;

	store(heap, VALUE);
	child = fork();
	if (child == 0) {
		measure(shared, heap, WRITE);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	*r = *shared;
	r->sharer_value = *(use_int *)heap;
}

static void cow_reuse(struct result *r)
{
	unsigned long heap = new_heap();
	pid_t child;

	store(heap, VALUE);
	child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	measure(r, heap, WRITE);
}

static void other_process(struct result *r)
{
	int ready[2], end[2];
	char byte = 0;
	pid_t child;

	if (pipe(ready) || pipe(end))
		die("pipe");
	child = fork();
	if (child == 0) {
		close(end[1]);
		store(map(0x10000000, PAGE, PROT_READ | PROT_WRITE), VALUE);
		_exit(write(ready[1], &byte, 1) != 1 || read(end[0], &byte, 1) < 0);
	}
	if (read(ready[0], &byte, 1) != 1)
		die("the other process");
	measure(r, 0x10000000, READ);
	close(end[1]);
	waitpid(child, NULL, 0);
}

static void edge(struct result *r)
{
	unsigned long heap = new_heap();

	store(heap, VALUE);
	munmap((void *)(heap + PAGE), PAGE);
	measure(r, heap + PAGE - 2, READ);
}

static void null(struct result *r)
{
	measure(r, 0, READ);
}

static void null_call(struct result *r)
{
	measure(r, 0, FETCH);
}

static void hole(struct result *r)
{
	measure(r, 0x6b6b6b6b6b6b, READ);
}

static void last_page(struct result *r)
{
	measure(r, 0x7ffffffff000, READ);
}

static void kernel(struct result *r)
{
	measure(r, 0xffff888000001000, READ);
}

static void no_address(struct result *r)
{
	measure(r, 0xdeadbeefdeadbeef, READ);
}

static const struct {
	const char *name;
	void (*run)(struct result *r);
} cases[] = {
	{ "mapped", mapped }, { "mapped-again", mapped }, { "stack", stack },
	{ "thread-stack", thread_stack }, { "heap-read", heap_read }, { "heap-write", heap_write },
	{ "heap-zero", heap_zero }, { "heap-dropped", heap_dropped },
	{ "thread-heap", thread_heap }, { "stack-grow", stack_grow }, { "file", file },
	{ "file-tail", file_tail }, { "data-write", data_write }, { "cow-copy", cow_copy },
	{ "cow-reuse", cow_reuse }, { "code-write", code_write }, { "file-write", file_write },
	{ "stack-exec", stack_exec }, { "heap-exec", heap_exec }, { "guard-page", guard_page },
	{ "file-shared", file_shared }, { "null", null }, { "null-call", null_call },
	{ "hole", hole }, { "other-process", other_process },
	{ "unmapped", unmapped }, { "edge", edge }, { "stack-limit", stack_limit },
	{ "stack-gap", stack_gap }, { "file-end", file_end }, { "last-page", last_page },
	{ "kernel", kernel }, { "no-address", no_address },
};

static int list(void)
{
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		printf("%s\n", cases[i].name);
	return 0;
}

int main(int argc, char **argv)
{
	struct result r;
	size_t i;

	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	for (i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]))
			continue;
		cases[i].run(&r);
		printf("{\"pointer\": %lu, \"signo\": %d, \"si_code\": %d, \"si_addr\": %lu, "
		       "\"handled\": %ld, \"value\": %d, \"sharer_value\": %d, \"frame_before\": %lu, "
		       "\"frame_after\": %lu}\n", r.pointer, r.signo, r.sig_code, r.sig_addr, r.faults,
		       r.value, r.sharer_value, r.frame_before, r.frame_after);
		return 0;
	}
	fprintf(stderr, "usage: host_segv CASE | --list\n");
	return 2;
}
