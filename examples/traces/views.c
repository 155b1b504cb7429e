/* SPDX-License-Identifier: MIT */
/*
 * What views.trace records: a process that looks at its own /proc/self/maps, whole and in small
 * steps, after each kind of mapping it makes; a thread and a parent that look at others'.
 *
 *     cc -O2 -pthread -o views views.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	4096UL
#define RW	(PROT_READ | PROT_WRITE)

static void look(const char *who, size_t step)
{
	char path[64], text[4096];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/maps", who);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (read(fd, text, step) > 0)
		;
	close(fd);
}

static void *look_from_a_thread(void *argument)
{
	char who[32];

	snprintf(who, sizeof(who), "self/task/%ld", syscall(SYS_gettid));
	look(who, 4096);
	return argument;
}

/* Private and shared anonymous memory, cut in pieces, locked and advised. */
static void map_anonymous(void)
{
	char *own = mmap(NULL, 16 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *common = mmap(NULL, 16 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < 16; i += 4)
		mprotect(own + i * PAGE, PAGE, i % 8 ? PROT_READ : PROT_NONE);
	mlock(common, 4 * PAGE);
	madvise(own + 5 * PAGE, 2 * PAGE, MADV_DONTFORK);
	mmap((void *)0x10000000UL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN |
	     MAP_FIXED_NOREPLACE, -1, 0);
	look("self", 4096);
}

static void map_files(void)
{
	static const char name[] = "/dev/shm/karc-example-view";
	static const char later[] = "/dev/shm/karc-example-seen";
	int file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int memory = memfd_create("two words", MFD_CLOEXEC);

	if (ftruncate(file, 20 * PAGE) || ftruncate(memory, 10 * PAGE))
		abort();
	mmap(NULL, 20 * PAGE, RW, MAP_SHARED, file, 0);
	mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 8 * PAGE);
	mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE, memory, 2 * PAGE);
	rename(name, later);
	look("self", 4096);
	unlink(later);
	look("self", 333);
}

static void attach_segment(void)
{
	int id = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
	char *segment = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	look("self", 4096);
	shmdt(segment);
}

static void grow(void)
{
	char *block = malloc(100000), *large = malloc(3000000);

	memset(block, 1, 100000);
	memset(large, 1, 3000000);
	large = realloc(large, 6000000);
	look("self", 4096);
	free(large);
	free(block);
}

static void look_at_a_child(void)
{
	char who[16];
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	snprintf(who, sizeof(who), "%d", (int)child);
	look(who, 4096);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

int main(void)
{
	pthread_t thread;

	map_anonymous();
	map_files();
	attach_segment();
	grow();
	look_at_a_child();
	if (pthread_create(&thread, NULL, look_from_a_thread, NULL))
		return 1;
	pthread_join(thread, NULL);
	return 0;
}
