/* SPDX-License-Identifier: MIT */
/*
 * room.c - the pgtable room: its state, its check
 *
 * What is left at shutdown is reported by the ledger, as kind "pgtable" with its site.
 */
#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/hw/physmem.h>
#include <karc/mm/pgtable/pgtable.h>
#include "internal.h"

static int pgtable_init(struct machine *m)
{
	struct pgtable_room_state *s = hostmem_zalloc(NULL, sizeof(*s));

	if (!s)
		return -ENOMEM;
	machine_set_room(m, ROOM_PGTABLE, s);
	tlbflush_init(m);
	return 0;
}

static void pgtable_exit(struct machine *m)
{
	hostmem_free(NULL, machine_room(m, ROOM_PGTABLE));
	machine_set_room(m, ROOM_PGTABLE, NULL);
}

/* Roots are found in the memmap; a machine without tables is not searched. */
static void pgtable_check_all(struct machine *m, struct check_report *report)
{
	struct pgtable_room_state *s = machine_room(m, ROOM_PGTABLE);
	long roots = atomic_long_read(&s->nr_alive[PGTABLE_PGD]);
	unsigned long pfn, max = physmem_max_pfn(m);

	for (pfn = 0; pfn < max && roots > 0; pfn++) {
		struct page *page = pfn_to_page(pfn);

		if (!PageTable(page) || page->pt_level != PGTABLE_PGD)
			continue;
		roots--;
		pgtable_check_root(page, report);
	}
	if (roots)
		check_fail(report, "I3: %ld root tables are counted and not found", roots);
}

const struct room pgtable_room = {
	.name = "pgtable",
	.id = ROOM_PGTABLE,
	.init = pgtable_init,
	.exit = pgtable_exit,
	.check = pgtable_check_all,
};
