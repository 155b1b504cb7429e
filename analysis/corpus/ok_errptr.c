/* SPDX-License-Identifier: MIT */
/* Error pointers carry no reference: nothing is lost when the error branch returns. */
// karc-no-diagnostics
#include "toy.h"

int error_branch_returns(const char *name)
{
	struct file *file = file_open(name);
	int ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = file_use(file);
	file_put(file);
	return ret;
}

KARC_GIVES struct file *constructor(const char *name, int mode)
{
	struct file *file = file_open(name);

	if (IS_ERR(file))
		return file;
	if (mode < 0) {
		file_put(file);
		return ERR_PTR(-EINVAL);
	}
	file->mode = mode;
	return file;
}

int tryget_tested(KARC_LENT(file) *borrowed)
{
	struct file *file = file_tryget(borrowed);
	int ret;

	if (!file)
		return -ENOENT;
	ret = file->mode;
	file_put(file);
	return ret;
}
