/* SPDX-License-Identifier: MIT */
/*
 * slab_options.c - what the boot line says about slabs: slab_debug=, init_on_alloc=, ...
 *
 * What it is
 *	slab_debug=<letters>[,<cache>...][;<letters>[,<cache>...]...] as in Linux: letters without a
 *	list are for all caches, those with one for the caches it names ("kmalloc-*" too) and in
 *	place of the others. Without letters: all of F, Z, P and U. slub_debug= is the same option.
 *
 * Worst case
 *	Each new cache walks the text once.
 *
 * Unlike Linux
 *	A (injected failures) says nothing new: every cache's allocations can be failed, see
 *	hw/inject.h. Caches cannot be changed while they exist.
 */
#include <ctype.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/param.h>
#include "internal.h"

#define DEBUG_DEFAULT_FLAGS	(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON |	\
				 SLAB_STORE_USER)
#define DEBUG_METADATA_FLAGS	(SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

/* One block of the text: [letters][,list], up to ';' or the end. */
struct debug_block {
	slab_flags_t flags;
	const char *list;		/* NULL: all caches */
	const char *end;
	bool no_higher_order;
};

static void take_letter(struct debug_block *block, char letter, bool complain)
{
	switch (tolower((unsigned char)letter)) {
	case '-':
		block->flags = 0;
		break;
	case 'f':
		block->flags |= SLAB_CONSISTENCY_CHECKS;
		break;
	case 'z':
		block->flags |= SLAB_RED_ZONE;
		break;
	case 'p':
		block->flags |= SLAB_POISON;
		break;
	case 'u':
		block->flags |= SLAB_STORE_USER;
		break;
	case 't':
		block->flags |= SLAB_TRACE;
		break;
	case 'a':
		break;
	case 'o':
		block->no_higher_order = true;
		break;
	default:
		if (complain)
			pr_err("slab_debug option '%c' unknown. skipped\n", letter);
	}
}

/* Read the block at @text. Returns what follows it, or NULL. */
static const char *read_block(const char *text, struct debug_block *block, bool complain)
{
	*block = (struct debug_block){ .flags = 0 };
	while (*text == ';')
		text++;
	if (*text == ',')
		block->flags = DEBUG_DEFAULT_FLAGS;
	for (; *text && *text != ',' && *text != ';'; text++)
		take_letter(block, *text, complain);
	if (*text == ',')
		block->list = ++text;
	while (*text && *text != ';')
		text++;
	block->end = text;
	while (*text == ';')
		text++;
	return *text ? text : NULL;
}

static void read_option(struct slab_state *state, const char *text)
{
	struct debug_block block;

	if (!*text) {
		state->debug_flags = DEBUG_DEFAULT_FLAGS;
		return;
	}
	state->debug_text = text;
	for (; text; ) {
		text = read_block(text, &block, true);
		if (!block.list)
			state->debug_flags = block.flags;
		state->debug_no_higher_order |= block.no_higher_order;
	}
}

void slab_options_init(struct slab_state *state)
{
	const char *text = boot_param(state->machine, "slab_debug");

	if (!text)
		text = boot_param(state->machine, "slub_debug");
	if (text)
		read_option(state, text);
	state->init_on_alloc = boot_param_bool(state->machine, "init_on_alloc", false);
	state->hardened_usercopy = boot_param_bool(state->machine, "hardened_usercopy", true);
	state->init_on_free = boot_param_bool(state->machine, "init_on_free", false);
}

/* Does the list of @block name the cache? A '*' stands for all that follows. */
static bool is_listed(const struct debug_block *block, const char *name)
{
	const char *at = block->list;

	while (at && at < block->end) {
		const char *comma = memchr(at, ',', (size_t)(block->end - at));
		const char *end = comma ? comma : block->end;
		const char *glob = memchr(at, '*', (size_t)(end - at));
		size_t bytes = (size_t)((glob ? glob : end) - at);

		if (!strncmp(name, at, bytes) && (glob || !name[bytes]))
			return true;
		at = comma ? comma + 1 : NULL;
	}
	return false;
}

/* @flags of a new cache, and what the boot line adds. */
slab_flags_t slab_debug_flags(const struct slab_state *state, slab_flags_t flags,
			      const char *name)
{
	slab_flags_t all = state->debug_flags;
	const char *text = state->debug_text;
	struct debug_block block;

	while (text) {
		text = read_block(text, &block, false);
		if (block.list && is_listed(&block, name))
			return flags | block.flags;
	}
	/* What serves debugging itself is not asked who uses it. */
	if (flags & SLAB_NOLEAKTRACE)
		all &= ~SLAB_STORE_USER;
	return flags | all;
}

/* 'O': without these a slab of the cache would be of a lower order. */
slab_flags_t slab_debug_metadata(const struct slab_state *state, slab_flags_t flags)
{
	return state->debug_no_higher_order ? flags & DEBUG_METADATA_FLAGS : 0;
}

/* kmem_cache.debug of a cache with these flags. */
unsigned int slab_debug_bits(const struct slab_state *state, slab_flags_t flags,
			     void (*ctor)(void *obj))
{
	bool wipeable = !ctor && !(flags & SLAB_TYPESAFE_BY_RCU);
	unsigned int debug = watch_debug_bits(flags);
	bool track = machine_config(state->machine)->track;

	if (flags & DEBUG_DEFAULT_FLAGS || track)
		debug |= DEBUG_TRACK;
	if (flags & SLAB_POISON && wipeable)
		debug |= DEBUG_PATTERN;
	if (flags & SLAB_RED_ZONE)
		debug |= DEBUG_REDZONE;
	if (flags & SLAB_TRACE)
		debug |= DEBUG_TRACE;
	if (flags & SLAB_CONSISTENCY_CHECKS || track || IS_DEBUG_BUILD)
		debug |= DEBUG_LIVE;
	/* Poisoned memory is not wiped: as in Linux the pattern wins. */
	if (state->init_on_alloc && wipeable && !(flags & SLAB_POISON))
		debug |= DEBUG_INIT_ALLOC;
	if (state->init_on_free && wipeable && !(flags & SLAB_POISON))
		debug |= DEBUG_INIT_FREE;
	if (state->multi_node)
		debug |= DEBUG_NODES;
	return debug;
}
