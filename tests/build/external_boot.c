/* SPDX-License-Identifier: MIT */
/* A program outside the tree that boots a machine; built with pkg-config karc. 3: boot refused. */
#include <karc/karc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/slab/kmalloc.h>

static long kernel_code(void *arg)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	int *number = kmalloc(sizeof(*number), GFP_KERNEL);

	if (!page || !number)
		return -ENOMEM;
	*number = *(int *)arg;
	*(int *)page_address(page) = *number + 1;
	*(int *)arg = *(int *)page_address(page);
	kfree(number);
	__free_pages(page, 1);
	return 0;
}

int main(void)
{
	struct machine *m = machine_boot(NULL);
	struct machine_result result;
	int number = 41;

	if (IS_ERR(m))
		return PTR_ERR(m) == -ENOEXEC ? 3 : 2;
	result = machine_call(m, 0, kernel_code, &number);
	return machine_shutdown(m) || result.value || number != 42;
}
