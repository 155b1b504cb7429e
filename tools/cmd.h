/* SPDX-License-Identifier: MIT */
/*
 * cmd.h - the verbs of the karc program
 *
 * Each gets its arguments, its full name ("karc run") as the first, and returns the exit status: 0
 * clean, 1 findings, 2 usage or bad input; record's is that of the program it recorded.
 */
#ifndef KARC_TOOLS_CMD_H
#define KARC_TOOLS_CMD_H

int cmd_bench(int argc, char **argv);
int cmd_graph(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_stat(int argc, char **argv);

#endif
