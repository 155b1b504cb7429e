/* SPDX-License-Identifier: MIT */
/*
 * Assertions.  BUG for a broken contract or a corrupt structure, WARN for what can be
 * survived, VM_BUG_ON for what is too dear outside debug builds (STYLE, "Assert, BUG_ON or
 * return?").
 *
 * This room knows no machine, so what happens is decided above, through weak functions that a
 * room above may define.  A host program without them gets a line on stderr, and abort() for a BUG.
 */
#ifndef KARC_BASE_BUG_H
#define KARC_BASE_BUG_H

#include <karc/base/compiler.h>
#include <karc/base/site.h>
#include <karc/base/types.h>

struct bug_site {
	struct site site;
	const char *text;	/* the condition as written; "" for BUG() */
};

#define KARC_BUG_SITE(condition_text) (__extension__ ({				\
	static const struct bug_site karc_bug_site_ = {				\
		{ __FILE__, __func__, __LINE__ }, condition_text };		\
	&karc_bug_site_; }))

/* Out of line, so that an assertion costs its call site a test and a jump. */
void karc_bug(const struct bug_site *site) __noreturn __cold;
void karc_bug_msg(const struct bug_site *site, const char *fmt, ...)
	__noreturn __cold __printf(2, 3);
void karc_warn(const struct bug_site *site) __cold;
void karc_warn_msg(const struct bug_site *site, const char *fmt, ...) __cold __printf(2, 3);

/**
 * karc_once - whether this is the first time for @key
 * @key: any address that stays put; the *_ONCE macros pass their static record
 *
 * "First" is per machine, and may be reset between tests: that state is karc_once_hook()'s.
 * Without the hook every time is the first.
 */
bool karc_once(const void *key);

/*
 * The hooks.  @msg is "" or the formatted text of WARN() and friends, without a newline.
 * karc_bug_hook() must not return; if it does, the process aborts.
 */
void karc_bug_hook(const struct bug_site *site, const char *msg) __weak;
void karc_warn_hook(const struct bug_site *site, const char *msg) __weak;
bool karc_once_hook(const void *key) __weak;

#define BUG() karc_bug(KARC_BUG_SITE(""))
#define BUG_ON(condition) do {							\
	if (unlikely(condition))						\
		karc_bug(KARC_BUG_SITE(#condition));				\
} while (0)

/* The WARN family returns the truth of its condition. */
#define WARN_ON(condition) (__extension__ ({					\
	bool karc_warn_ = !!(condition);					\
	if (unlikely(karc_warn_))						\
		karc_warn(KARC_BUG_SITE(#condition));				\
	unlikely(karc_warn_); }))
#define WARN(condition, ...) (__extension__ ({					\
	bool karc_warn_ = !!(condition);					\
	if (unlikely(karc_warn_))						\
		karc_warn_msg(KARC_BUG_SITE(#condition), __VA_ARGS__);		\
	unlikely(karc_warn_); }))
#define WARN_ON_ONCE(condition) (__extension__ ({				\
	bool karc_warn_ = !!(condition);					\
	if (unlikely(karc_warn_)) {						\
		const struct bug_site *karc_where_ = KARC_BUG_SITE(#condition);	\
		if (karc_once(karc_where_))					\
			karc_warn(karc_where_);					\
	}									\
	unlikely(karc_warn_); }))
#define WARN_ONCE(condition, ...) (__extension__ ({				\
	bool karc_warn_ = !!(condition);					\
	if (unlikely(karc_warn_)) {						\
		const struct bug_site *karc_where_ = KARC_BUG_SITE(#condition);	\
		if (karc_once(karc_where_))					\
			karc_warn_msg(karc_where_, __VA_ARGS__);		\
	}									\
	unlikely(karc_warn_); }))

/* Debug builds only; elsewhere the condition is compiled and thrown away. */
#ifdef KARC_DEBUG
#define VM_BUG_ON(condition) BUG_ON(condition)
#define VM_WARN_ON(condition) ((void)WARN_ON(condition))
#define VM_WARN_ON_ONCE(condition) ((void)WARN_ON_ONCE(condition))
#else
#define VM_BUG_ON(condition) ((void)sizeof((long)(condition)))
#define VM_WARN_ON(condition) ((void)sizeof((long)(condition)))
#define VM_WARN_ON_ONCE(condition) ((void)sizeof((long)(condition)))
#endif

#endif
