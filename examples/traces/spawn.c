/* SPDX-License-Identifier: MIT */
/*
 * What spawn.trace records: posix_spawn as programs use it, with descriptors rearranged, a new
 * process group, and a program that is not there; vfork; a child that is killed; and an execve by
 * a thread that is not the first one.
 *
 *     cc -O2 -pthread -o spawn spawn.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int spawn(char **argv, const posix_spawn_file_actions_t *actions, short flags)
{
	posix_spawnattr_t attributes;
	int status = -1, failed;
	pid_t child;

	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, flags);
	failed = posix_spawn(&child, argv[0], actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	if (!failed)
		waitpid(child, &status, 0);
	return status;
}

/* The output of echo through a pipe. */
static void read_from_child(void)
{
	char *argv[] = { "/usr/bin/echo", "from a child", NULL };
	posix_spawn_file_actions_t actions;
	char text[64] = "";
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		abort();
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, 7, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	spawn(argv, &actions, POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (read(ends[0], text, sizeof(text) - 1) > 0)
		printf("read %s", text);
	close(ends[0]);
}

static void kill_a_child(void)
{
	int status = 0;
	pid_t child = vfork();

	if (child == 0) {
		execl("/usr/bin/sleep", "sleep", "100", (char *)NULL);
		_exit(127);
	}
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	printf("killed by %d\n", WTERMSIG(status));
}

static void *execute(void *argument)
{
	(void)argument;
	execl("/usr/bin/true", "true", (char *)NULL);
	return NULL;
}

int main(void)
{
	char *good[] = { "/usr/bin/true", NULL }, *absent[] = { "/usr/bin/absent", NULL };
	pthread_t thread;

	for (unsigned int i = 0; i < 3; i++)
		printf("true %d\n", spawn(good, NULL, 0));
	printf("absent %d\n", spawn(absent, NULL, 0));
	read_from_child();
	kill_a_child();
	fflush(stdout);
	if (pthread_create(&thread, NULL, execute, NULL))
		return 1;
	pthread_join(thread, NULL);
	return 1;
}
