/* SPDX-License-Identifier: MIT */
/* Borrowed references treated as owned ones, and the reverse. */
#include "toy.h"

void put_of_a_borrowed_parameter(KARC_LENT(file) *file)
{
	file_put(file);			// karc-warning{{not owned}}
}

void put_of_a_borrowed_result(int fd)
{
	struct file *file = file_find(fd);

	if (file)
		file_put(file);		// karc-warning{{not owned}}
}

KARC_GIVES struct file *borrowed_returned_as_owned(int fd)
{
	return file_find(fd);		// karc-warning{{+0}}
}

KARC_LENDS struct file *owned_returned_as_borrowed(int mode)
{
	return file_new(mode);		// karc-warning{{leak}}
}

void borrowed_given_away(int fd, KARC_LENT(file) *file)
{
	table_install(fd, file);	// karc-warning{{not owned}}
}

int taken_and_not_put(KARC_TAKES struct file *file)	// karc-warning{{leak}}
{
	return file_use(file);
}
