/* SPDX-License-Identifier: MIT */
/* References that are never put. */
#include "toy.h"

int leak_on_early_return(int mode)
{
	struct file *file = file_new(mode);	// karc-warning{{Potential leak}}

	if (!file)
		return -ENOMEM;
	if (mode > 3)
		return -EINVAL;
	file_put(file);
	return 0;
}

int leak_on_the_wrong_label(int mode)
{
	struct file *a = file_new(mode), *b;
	int err = -ENOMEM;

	if (!a)
		return err;
	b = file_new(mode + 1);	// karc-warning{{Potential leak}}
	if (!b)
		goto put_a;
	err = file_use(b);
	if (err)
		goto put_a;
	file_put(b);
put_a:
	file_put(a);
	return err;
}

void leak_by_overwriting(int mode)
{
	struct file *file = file_new(mode);	// karc-warning{{Potential leak}}

	file = file_new(mode + 1);
	file_put(file);
}

int leak_of_a_second_reference(struct file *borrowed)
{
	struct file *file = file_get(borrowed);	// karc-warning{{Potential leak}}

	return file_use(file);
}

void leak_in_a_loop(int n)
{
	struct file *file;
	int i;

	for (i = 0; i < n; i++) {
		file = file_new(i);	// karc-warning{{Potential leak}}
		if (!file)
			break;
		if (file_use(file))
			continue;
		file_put(file);
	}
}

int leak_in_a_case(int kind)
{
	struct file *file = file_new(kind);	// karc-warning{{Potential leak}}

	if (!file)
		return -ENOMEM;
	switch (kind) {
	case 1:
		file_put(file);
		return 0;
	case 2:
		return -EPERM;
	default:
		file_put(file);
		return 1;
	}
}
