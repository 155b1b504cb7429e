/* SPDX-License-Identifier: MIT */
/*
 * What it is      Mappings the kernel makes of its own accord and that have a name: [vdso], [vvar].
 *                 They have no file; their operations know them by vm_private_data.
 *
 * Unlike Linux    karc has no code to put behind them. A mapping whose vm_special_mapping has no
 *                 fault callback answers every access with SIGBUS.
 */
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/profile.h>

#include "mmap_internal.h"

static vm_fault_t special_mapping_fault(struct vm_fault *vmf)
{
	const struct vm_special_mapping *sm = vmf->vma->vm_private_data;

	return sm->ops.fault ? sm->ops.fault(sm, vmf->vma, vmf) : VM_FAULT_SIGBUS;
}

static const char *special_mapping_name(struct vm_area_struct *vma)
{
	return ((const struct vm_special_mapping *)vma->vm_private_data)->name;
}

static int special_mapping_split(struct vm_area_struct *vma, unsigned long addr)
{
	(void)vma;
	(void)addr;
	/* Its owner knows how many pages it has and where each is. */
	return -EINVAL;
}

static const struct vm_operations_struct special_mapping_vmops = {
	.fault = special_mapping_fault,
	.name = special_mapping_name,
	.may_split = special_mapping_split,
};

struct vm_area_struct *_install_special_mapping(struct mm_struct *mm, unsigned long addr,
						unsigned long len, unsigned long flags,
						const struct vm_special_mapping *spec)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);
	int err;

	if (!vma)
		return ERR_PTR(-ENOMEM);
	vma->vm_start = addr;
	vma->vm_end = addr + len;
	vma->vm_flags = (flags | mm->def_flags | VM_DONTEXPAND | VM_SOFTDIRTY) & ~VM_LOCKED_MASK;
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	vma->vm_ops = &special_mapping_vmops;
	vma->vm_private_data = (void *)spec;
	err = insert_vm_struct(mm, vma);
	if (err)
		return ERR_PTR(err);
	vm_stat_account(mm, vma->vm_flags, (long)(len >> PAGE_SHIFT));
	return vma;
}

static const struct vm_special_mapping vvar_mapping = { .name = "[vvar]" };
static const struct vm_special_mapping vclock_mapping = { .name = "[vvar_vclock]" };
static const struct vm_special_mapping vdso_mapping = { .name = "[vdso]" };

#define VVAR_FLAGS	(VM_READ | VM_MAYREAD | VM_IO | VM_DONTDUMP | VM_PFNMAP)
#define VDSO_FLAGS	(VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)

/* mmap_lock held for writing. */
static long map_vdso_locked(struct mm_struct *mm, unsigned long vvar_bytes,
			    unsigned long vdso_bytes)
{
	unsigned long clock = min(mm->profile->vvar_vclock_bytes, vvar_bytes), start, at, i;
	const struct {
		unsigned long bytes, flags;
		const struct vm_special_mapping *spec;
	} parts[] = {
		{ vvar_bytes - clock, VVAR_FLAGS, &vvar_mapping },
		{ clock, VVAR_FLAGS, &vclock_mapping },
		{ vdso_bytes, VDSO_FLAGS, &vdso_mapping },
	};
	struct vm_area_struct *vma;

	start = at = get_unmapped_area(mm, NULL, 0, vvar_bytes + vdso_bytes, 0, 0);
	if (IS_ERR_VALUE(start))
		return (long)start;
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!parts[i].bytes)
			continue;
		vma = _install_special_mapping(mm, at, parts[i].bytes, parts[i].flags,
					       parts[i].spec);
		if (IS_ERR(vma))
			goto undo;
		at += parts[i].bytes;
	}
	return (long)(vdso_bytes ? start + vvar_bytes : start);
undo:
	/* Whole mappings, so no cut that could fail. */
	if (at > start && do_munmap(mm, start, at - start))
		BUG();
	return PTR_ERR(vma);
}

long map_vdso(struct mm_struct *mm, unsigned long vvar_bytes, unsigned long vdso_bytes)
{
	long ret;

	if (!vvar_bytes && !vdso_bytes)
		return 0;
	if (offset_in_page(vvar_bytes | vdso_bytes))
		return -EINVAL;
	mmap_write_lock(mm);
	ret = map_vdso_locked(mm, vvar_bytes, vdso_bytes);
	mmap_write_unlock(mm);
	return ret;
}
