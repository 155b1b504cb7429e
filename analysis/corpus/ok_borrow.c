/* SPDX-License-Identifier: MIT */
/* Borrowing, lending and taking done right. */
// karc-no-diagnostics
#include "toy.h"

int borrowed_parameter_used(KARC_LENT(file) *file)
{
	return file_use(file);
}

int borrowed_result_used(int fd)
{
	struct file *file = file_find(fd);

	return file ? file_use(file) : -EBADF;
}

KARC_GIVES struct file *borrowed_made_owned(int fd)
{
	struct file *file = file_find(fd);

	return file ? file_get(file) : NULL;
}

void own_reference_given_away(int fd, KARC_LENT(file) *file)
{
	table_install(fd, file_get(file));
}

int taken_and_put(KARC_TAKES struct file *file)
{
	int ret = file_use(file);

	file_put(file);
	return ret;
}

void kept_in_a_field(KARC_LENT(file) *file, KARC_TAKES struct file *backing)
{
	file->backing = backing;
}
