/* SPDX-License-Identifier: MIT */
/*
 * replay_model.c - what calls would be answered, without any effect
 *
 * What it is
 *	For descriptors: which numbers are taken. For memory: a second address space of karc's own,
 *	in which the same places are taken by nothing, so that karc's own rules say where a mapping
 *	would go. Effects are tried in the model; karc itself has them later, when an order is
 *	found.
 *
 * Unlike the real thing
 *	Neighbours of the same kind are one mapping in the model. Only whether a place is free
 *	counts, limits do not: a call that was refused is taken to have no effect.
 */
#include "replay_order.h"
#include <karc/base/err.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/files.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FDS_SPARE	(2 * REPLAY_STEPS_MAX)	/* more than a plan can take */
#define FDS_MAX		(1u << 20)

/* ---- descriptors ------------------------------------------------------------------------- */

static bool fds_reset(struct replay_model *model)
{
	unsigned int i, max = files_max(model->of.files);
	struct file *file;

	if (max > FDS_MAX)
		return false;
	if (!model->fds || max + FDS_SPARE > model->nr_fds) {
		bool *more = realloc(model->fds, max + FDS_SPARE);

		if (!more)
			return false;
		model->fds = more;
		model->nr_fds = max + FDS_SPARE;
	}
	memset(model->fds, 0, model->nr_fds);
	for (i = 0; i < max; i++) {
		file = fget_files(model->of.files, i);
		model->fds[i] = file != NULL;
		fput(file);
	}
	return true;
}

static bool *fd_slot(struct replay_model *model, uint64_t fd)
{
	return model->fds && fd < model->nr_fds ? &model->fds[fd] : NULL;
}

static bool take_fd(struct replay_model *model, struct replay_op *op, unsigned int start)
{
	unsigned int fd = start;

	while (model->fds && fd < model->nr_fds && model->fds[fd])
		fd++;
	if (!model->fds || fd >= model->nr_fds || (op->want >= 0 && op->want != (int64_t)fd))
		return false;
	model->fds[fd] = true;
	op->number = (int)fd;
	return true;
}

static bool close_fds(struct replay_model *model, const struct rec_call *call, uint64_t first,
		      uint64_t last)
{
	bool *slot = fd_slot(model, first);

	if (call->nr == REC_NR_close && slot && *slot != (call->result == 0))
		return false;
	for (; first <= last && (slot = fd_slot(model, first)); first++)
		*slot = false;
	return true;
}

static bool try_fds(struct replay_model *model, struct replay_op *ops, unsigned int i)
{
	struct replay_op *op = &ops[i];
	unsigned int start;
	uint64_t first, last;
	bool *slot;

	if (op->after >= 0 && op->want < 0 && op->optional) {	/* gives back what it had */
		slot = fd_slot(model, (uint64_t)ops[op->after].number);
		if (slot)
			*slot = false;
		return true;
	}
	if (replay_takes_fd(&op->call, &start))
		return take_fd(model, op, start);
	if (replay_frees_fds(&op->call, &first, &last))
		return close_fds(model, &op->call, first, last);
	slot = op->call.result >= 0 ? fd_slot(model, op->call.args[1]) : NULL;	/* dup2, dup3 */
	if (slot)
		*slot = true;
	return true;
}

/* ---- memory ------------------------------------------------------------------------------ */

static bool occupy(struct mm_struct *mm, unsigned long start, unsigned long end, bool grows)
{
	unsigned long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE |
			      (grows ? MAP_GROWSDOWN : 0);

	return start >= end || !IS_ERR_VALUE((unsigned long)ksys_mmap(mm, start, end - start,
								     PROT_NONE, flags, NULL, 0));
}

struct places {
	struct place {
		struct replay_range range;
		bool grows;
	} *at;
	size_t nr;
};

/* What is taken in @mm, neighbours together. False: no memory. */
static bool list_places(struct mm_struct *mm, struct places *places)
{
	struct vm_area_struct *vma;
	bool grows, ok;

	mmap_read_lock(mm);
	places->at = calloc((size_t)mm->map_count + 1, sizeof(*places->at));
	ok = places->at;
	for (vma = find_vma(mm, 0); vma && ok; vma = vma_next(vma)) {
		struct place *last = places->nr ? &places->at[places->nr - 1] : NULL;

		grows = vma->vm_flags & VM_GROWSDOWN;
		if (last && last->range.end == vma->vm_start && !grows)
			last->range.end = vma->vm_end;
		else
			places->at[places->nr++] =
				(struct place){ { vma->vm_start, vma->vm_end }, grows };
	}
	mmap_read_unlock(mm);
	return ok;
}

static bool occupy_like(struct mm_struct *scratch, struct mm_struct *mm)
{
	struct places places = { NULL, 0 };
	bool ok = list_places(mm, &places);
	size_t i;

	for (i = 0; i < places.nr && ok; i++)
		ok = occupy(scratch, places.at[i].range.start, places.at[i].range.end,
			    places.at[i].grows);
	free(places.at);
	return ok;
}

static bool memory_reset(struct replay_model *model)
{
	struct mm_struct *mm = model->of.mm, *scratch;

	mmput(model->scratch);
	model->scratch = scratch = mm_alloc();
	if (!scratch)
		return false;
	mm_set_layout(scratch, mm->profile, NULL, false);
	scratch->mmap_base = mm->mmap_base;
	scratch->mmap_legacy_base = mm->mmap_legacy_base;
	mm_flag_assign(scratch, MMF_TOPDOWN, mm_flag_test(mm, MMF_TOPDOWN));
	mm_flag_assign(scratch, MMF_CAPABLE, true);
	scratch->brk = mm->brk;
	scratch->rlim = (struct mm_rlimits){ ~0UL, ~0UL, mm->rlim.stack, ~0UL };
	return occupy_like(scratch, mm);
}

static bool is_free(struct mm_struct *mm, struct replay_range range)
{
	bool is;

	mmap_read_lock(mm);
	is = !find_vma_intersection(mm, range.start, range.end);
	mmap_read_unlock(mm);
	return is;
}

static bool try_brk(struct mm_struct *mm, const struct rec_call *call)
{
	unsigned long brk = (unsigned long)call->result;
	struct replay_range more = { PAGE_ALIGN(mm->brk), PAGE_ALIGN(brk) };

	if (brk > mm->brk && more.start < more.end && !is_free(mm, more))
		return false;
	if (more.end < more.start)
		ksys_munmap(mm, more.end, more.start - more.end);
	mm->brk = brk;
	return occupy(mm, more.start, more.end, false);
}

static bool try_memory(struct replay_model *model, const struct replay_op *op)
{
	const struct rec_call *call = &op->call;
	struct replay_range freed, taken;
	unsigned long would;

	if (op->known && (!call->has_result || call->result < 0))
		return true;
	if (call->nr == REC_NR_brk)
		return try_brk(model->scratch, call);
	would = replay_mem_would(model->r, model->t, model->scratch, call);
	if (op->known && would && would != (unsigned long)call->result)
		return false;
	replay_mem_effect(model->r, model->t, call, op->known, &freed, &taken);
	if (call->nr == REC_NR_mmap && (call->args[3] & MAP_FIXED_NOREPLACE) &&
	    !is_free(model->scratch, taken))
		return false;
	if (freed.start < freed.end)
		ksys_munmap(model->scratch, freed.start, freed.end - freed.start);
	return occupy(model->scratch, taken.start, taken.end, false);
}

/* ---- both -------------------------------------------------------------------------------- */

bool replay_model_open(struct replay_model *model, struct replay *r, struct replay_task *t,
		       struct replay_resource of)
{
	*model = (struct replay_model){ .r = r, .t = t, .of = of };
	return replay_model_reset(model);
}

void replay_model_close(struct replay_model *model)
{
	mmput(model->scratch);
	free(model->fds);
}

bool replay_model_reset(struct replay_model *model)
{
	return model->of.mm ? memory_reset(model) : fds_reset(model);
}

bool replay_model_try(struct replay_model *model, struct replay_op *ops, unsigned int i)
{
	return model->of.mm ? try_memory(model, &ops[i]) : try_fds(model, ops, i);
}
