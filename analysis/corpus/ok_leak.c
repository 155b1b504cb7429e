/* SPDX-License-Identifier: MIT */
/* The same shapes as bug_leak.c, done right. */
// karc-no-diagnostics
#include "toy.h"

int put_on_every_return(int mode)
{
	struct file *file = file_new(mode);

	if (!file)
		return -ENOMEM;
	if (mode > 3) {
		file_put(file);
		return -EINVAL;
	}
	file_put(file);
	return 0;
}

int ladder(int mode)
{
	struct file *a = file_new(mode), *b;
	int err = -ENOMEM;

	if (!a)
		return err;
	b = file_new(mode + 1);
	if (!b)
		goto put_a;
	err = file_use(b);
	file_put(b);
put_a:
	file_put(a);
	return err;
}

void put_before_overwriting(int mode)
{
	struct file *file = file_new(mode);

	file_put(file);
	file = file_new(mode + 1);
	file_put(file);
}

int second_reference_put(struct file *borrowed)
{
	struct file *file = file_get(borrowed);
	int ret = file_use(file);

	file_put(file);
	return ret;
}

void loop_puts_each(int n)
{
	struct file *file;
	int i;

	for (i = 0; i < n; i++) {
		file = file_new(i);
		if (!file)
			break;
		file_use(file);
		file_put(file);
	}
}

KARC_GIVES struct file *owned_result(int mode)
{
	return file_new(mode);
}

void given_to_a_container(int fd)
{
	struct file *file = file_new(fd);

	if (file)
		table_install(fd, file);
}
