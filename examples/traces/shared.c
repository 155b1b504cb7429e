/* SPDX-License-Identifier: MIT */
/*
 * What shared.trace records: memory that processes share, made in every way there is: a memfd
 * that grows and is sealed, POSIX shared memory, a System V segment, an anonymous mapping, and a
 * file. Children write, the parent reads.
 *
 *     cc -O2 -o shared shared.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES	(256UL << 10)

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

/* A child writes into every page of @map; the parent counts what has arrived. */
static unsigned int fill_by_child(volatile unsigned char *map)
{
	unsigned int seen = 0;
	pid_t child = fork();

	check(child >= 0, "fork");
	if (child == 0) {
		for (size_t i = 0; i < BYTES; i += 4096)
			map[i] = 7;
		_exit(0);
	}
	waitpid(child, NULL, 0);
	for (size_t i = 0; i < BYTES; i += 4096)
		seen += map[i] == 7;
	return seen;
}

static unsigned int use_descriptor(int fd, const char *name)
{
	unsigned char *map;
	unsigned int seen;

	check(ftruncate(fd, BYTES / 2) == 0 && ftruncate(fd, BYTES) == 0, name);
	map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(map != MAP_FAILED, name);
	seen = fill_by_child(map);
	check(msync(map, BYTES, MS_SYNC) == 0 && munmap(map, BYTES) == 0, name);
	return seen;
}

static unsigned int use_memfd(void)
{
	int fd = memfd_create("shared numbers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	unsigned int seen;
	void *map;

	check(fd >= 0, "memfd_create");
	seen = use_descriptor(fd, "memfd");
	check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) == 0, "seals");
	map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(map == MAP_FAILED, "a sealed memfd can be mapped for writing");
	map = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
	check(map != MAP_FAILED, "memfd");
	check(ftruncate(fd, 0) != 0, "a sealed memfd can be cut");
	munmap(map, BYTES);
	close(fd);
	return seen;
}

static unsigned int use_posix(void)
{
	int fd = shm_open("/karc-example", O_RDWR | O_CREAT | O_EXCL, 0600);
	unsigned int seen;

	check(fd >= 0 && shm_unlink("/karc-example") == 0, "shm_open");
	seen = use_descriptor(fd, "shm_open");
	close(fd);
	return seen;
}

static unsigned int use_system_v(void)
{
	int id = shmget(IPC_PRIVATE, BYTES, IPC_CREAT | 0600);
	unsigned char *map = shmat(id, NULL, 0), *again = shmat(id, NULL, SHM_RDONLY);
	struct shmid_ds state;
	unsigned int seen;

	check(id >= 0 && map != (void *)-1 && again != (void *)-1, "shmat");
	seen = fill_by_child(map);
	check(shmctl(id, IPC_STAT, &state) == 0 && state.shm_nattch == 2, "shmctl");
	check(shmctl(id, IPC_RMID, NULL) == 0, "shmctl");
	check(again[0] == 7 && shmdt(again) == 0 && shmdt(map) == 0, "shmdt");
	return seen;
}

static unsigned int use_anonymous(void)
{
	unsigned char *map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int seen;

	check(map != MAP_FAILED, "mmap");
	seen = fill_by_child(map);
	munmap(map, BYTES);
	return seen;
}

static unsigned int use_file(void)
{
	static const char name[] = "/dev/shm/karc-example-file";
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsigned int seen;

	check(fd >= 0, name);
	seen = use_descriptor(fd, name);
	check(write(fd, "head", 4) == 4 && lseek(fd, 0, SEEK_END) == (off_t)BYTES &&
	      write(fd, "tail", 4) == 4, name);
	close(fd);
	unlink(name);
	return seen;
}

int main(void)
{
	printf("memfd %u, posix %u, system v %u, anonymous %u, file %u\n", use_memfd(),
	       use_posix(), use_system_v(), use_anonymous(), use_file());
	return 0;
}
