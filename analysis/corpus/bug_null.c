/* SPDX-License-Identifier: MIT */
/* Results that may be NULL, used without a look. */
#include "toy.h"

int tryget_dereferenced(KARC_LENT(file) *borrowed)
{
	struct file *file = file_tryget(borrowed);
	int mode = file->mode;		// karc-warning{{Nullable pointer is dereferenced}}

	file_put(file);
	return mode;
}

int tryget_leaked(KARC_LENT(file) *borrowed)
{
	struct file *file = file_tryget(borrowed);	// karc-warning{{Potential leak}}

	if (!file)
		return -ENOENT;
	return file_use(file);
}
