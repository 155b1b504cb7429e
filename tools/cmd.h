/* SPDX-License-Identifier: MIT */
/*
 * cmd.h - the verbs of the karc program
 *
 * Each gets its arguments from its own name on and returns the exit status: 0 clean, 1 findings,
 * 2 usage or bad input.
 */
#ifndef KARC_TOOLS_CMD_H
#define KARC_TOOLS_CMD_H

int cmd_run(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_replay(int argc, char **argv);

#endif
