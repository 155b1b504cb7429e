/* SPDX-License-Identifier: MIT */
/* Puts of what is gone, and uses after a put. */
#include "toy.h"

void double_put(int mode)
{
	struct file *file = file_new(mode);

	if (!file)
		return;
	file_put(file);
	file_put(file);			// karc-warning{{released}}
}

int use_of_a_field_after_put(int mode)
{
	struct file *file = file_new(mode);

	if (!file)
		return -ENOMEM;
	file_put(file);
	return file->mode;		// karc-warning{{after it is freed}}
}

int use_through_an_alias_after_put(int mode)
{
	struct file *file = file_new(mode), *alias = file;

	if (!file)
		return -ENOMEM;
	file_put(file);
	return alias->mode;		// karc-warning{{after it is freed}}
}

int put_twice_on_the_error_path(int mode)
{
	struct file *file = file_new(mode);
	int err;

	if (!file)
		return -ENOMEM;
	err = file_use(file);
	if (err)
		file_put(file);
	file_put(file);			// karc-warning{{not owned}}
	return err;
}

void put_after_giving_away(int fd)
{
	struct file *file = file_new(fd);

	if (!file)
		return;
	table_install(fd, file);
	file_put(file);			// karc-warning{{released}}
}
