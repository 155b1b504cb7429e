/* SPDX-License-Identifier: MIT */
/* A program outside the tree that uses the bottom room only; built with pkg-config karc. */
#include <stdio.h>

#include <karc/base/hostmem.h>
#include <karc/base/xarray.h>

int main(void)
{
	struct xarray xa;
	void *memory = hostmem_alloc(NULL, 10);
	int err;

	xa_init(&xa);
	err = xa_err(xa_store(&xa, 7, xa_mk_value(42), 0));
	printf("%d %lu\n", err, xa_to_value(xa_load(&xa, 7)));
	xa_destroy(&xa);
	hostmem_free(NULL, memory);
	return 0;
}
