/* SPDX-License-Identifier: MIT */
/*
 * rculist.h - lists that are read under RCU and changed under a lock, with Linux's names
 *
 * A removed entry keeps its forward pointer, so that a reader standing on it finds its way on;
 * its memory may be reused only after a grace period.
 */
#ifndef KARC_REFCOUNT_RCULIST_H
#define KARC_REFCOUNT_RCULIST_H

#include <karc/base/list.h>
#include <karc/refcount/rcu.h>

#define list_next_rcu(list)	((list)->next)
#define list_tail_rcu(list)	((list)->prev)
#define list_entry_rcu(ptr, type, member) \
	container_of(rcu_dereference_raw(ptr), type, member)

/* Pairs with the loads in list_for_each_entry_rcu(): who finds @entry sees it filled in. */
static inline void karc_list_add_rcu(struct list_head *entry, struct list_head *prev,
				     struct list_head *next)
{
	entry->next = next;
	entry->prev = prev;
	rcu_assign_pointer(prev->next, entry);
	next->prev = entry;
}

static inline void INIT_LIST_HEAD_RCU(struct list_head *list)
{
	WRITE_ONCE(list->next, list);
	WRITE_ONCE(list->prev, list);
}

static inline void list_add_rcu(struct list_head *entry, struct list_head *head)
{
	karc_list_add_rcu(entry, head, head->next);
}

static inline void list_add_tail_rcu(struct list_head *entry, struct list_head *head)
{
	karc_list_add_rcu(entry, head->prev, head);
}

/* The caller frees @entry after a grace period only, and does not use it as a list before. */
static inline void list_del_rcu(struct list_head *entry)
{
	__list_del_entry(entry);
	entry->prev = LIST_POISON2;
}

static inline void list_replace_rcu(struct list_head *old, struct list_head *entry)
{
	entry->next = old->next;
	entry->prev = old->prev;
	rcu_assign_pointer(entry->prev->next, entry);
	entry->next->prev = entry;
	old->prev = LIST_POISON2;
}

/**
 * list_splice_init_rcu - move @list, which readers may be on, to the front of @head
 * @sync: synchronize_rcu() or one of its kin
 *
 * Context: may sleep (@sync).
 */
static inline void list_splice_init_rcu(struct list_head *list, struct list_head *head,
					void (*sync)(void))
{
	struct list_head *first = list->next, *last = list->prev, *at = head->next;

	if (list_empty(list))
		return;
	INIT_LIST_HEAD_RCU(list);
	/* Readers inside the run still look for @list as its end: let them reach it. */
	sync();
	last->next = at;
	rcu_assign_pointer(head->next, first);
	first->prev = head;
	at->prev = last;
}

#define list_first_or_null_rcu(ptr, type, member) (__extension__ ({		\
	struct list_head *karc_head_ = (ptr);					\
	struct list_head *karc_next_ = rcu_dereference_raw(karc_head_->next);	\
	karc_head_ != karc_next_ ? container_of(karc_next_, type, member) : NULL; }))

#define list_next_or_null_rcu(head, ptr, type, member) (__extension__ ({	\
	struct list_head *karc_head_ = (head);					\
	struct list_head *karc_next_ = rcu_dereference_raw((ptr)->next);	\
	karc_head_ != karc_next_ ? container_of(karc_next_, type, member) : NULL; }))

/* The optional last argument says which lock makes it safe without rcu_read_lock(). */
#define list_for_each_entry_rcu(pos, head, member, cond...)			\
	for ((pos) = list_entry_rcu((head)->next, __typeof__(*(pos)), member);	\
	     &(pos)->member != (head);						\
	     (pos) = list_entry_rcu((pos)->member.next, __typeof__(*(pos)), member))

#define list_for_each_entry_lockless(pos, head, member) \
	list_for_each_entry_rcu(pos, head, member)

#define list_for_each_entry_continue_rcu(pos, head, member)			\
	for ((pos) = list_entry_rcu((pos)->member.next, __typeof__(*(pos)), member); \
	     &(pos)->member != (head);						\
	     (pos) = list_entry_rcu((pos)->member.next, __typeof__(*(pos)), member))

#define list_for_each_entry_from_rcu(pos, head, member)				\
	for (; &(pos)->member != (head);					\
	     (pos) = list_entry_rcu((pos)->member.next, __typeof__(*(pos)), member))

#define hlist_first_rcu(head)	((head)->first)
#define hlist_next_rcu(node)	((node)->next)
#define hlist_pprev_rcu(node)	(*(node)->pprev)

static inline void hlist_del_rcu(struct hlist_node *node)
{
	__hlist_del(node);
	WRITE_ONCE(node->pprev, (struct hlist_node **)LIST_POISON2);
}

static inline void hlist_del_init_rcu(struct hlist_node *node)
{
	if (!hlist_unhashed(node)) {
		__hlist_del(node);
		WRITE_ONCE(node->pprev, NULL);
	}
}

static inline void hlist_replace_rcu(struct hlist_node *old, struct hlist_node *entry)
{
	struct hlist_node *next = old->next;

	entry->next = next;
	WRITE_ONCE(entry->pprev, old->pprev);
	rcu_assign_pointer(*entry->pprev, entry);
	if (next)
		WRITE_ONCE(next->pprev, &entry->next);
	WRITE_ONCE(old->pprev, (struct hlist_node **)LIST_POISON2);
}

static inline void hlist_add_head_rcu(struct hlist_node *entry, struct hlist_head *head)
{
	struct hlist_node *first = head->first;

	entry->next = first;
	WRITE_ONCE(entry->pprev, &head->first);
	rcu_assign_pointer(head->first, entry);
	if (first)
		WRITE_ONCE(first->pprev, &entry->next);
}

static inline void hlist_add_before_rcu(struct hlist_node *entry, struct hlist_node *next)
{
	WRITE_ONCE(entry->pprev, next->pprev);
	entry->next = next;
	rcu_assign_pointer(*entry->pprev, entry);
	WRITE_ONCE(next->pprev, &entry->next);
}

static inline void hlist_add_behind_rcu(struct hlist_node *entry, struct hlist_node *prev)
{
	entry->next = prev->next;
	WRITE_ONCE(entry->pprev, &prev->next);
	rcu_assign_pointer(prev->next, entry);
	if (entry->next)
		WRITE_ONCE(entry->next->pprev, &entry->next);
}

static inline void hlist_add_tail_rcu(struct hlist_node *entry, struct hlist_head *head)
{
	struct hlist_node *last = NULL, *pos;

	for (pos = head->first; pos; pos = pos->next)
		last = pos;
	if (last)
		hlist_add_behind_rcu(entry, last);
	else
		hlist_add_head_rcu(entry, head);
}

#define hlist_for_each_entry_rcu(pos, head, member, cond...)			\
	for ((pos) = hlist_entry_safe(rcu_dereference_raw((head)->first),	\
				      __typeof__(*(pos)), member);		\
	     (pos);								\
	     (pos) = hlist_entry_safe(rcu_dereference_raw((pos)->member.next),	\
				      __typeof__(*(pos)), member))

#define hlist_for_each_entry_continue_rcu(pos, member)				\
	for ((pos) = hlist_entry_safe(rcu_dereference_raw((pos)->member.next),	\
				      __typeof__(*(pos)), member);		\
	     (pos);								\
	     (pos) = hlist_entry_safe(rcu_dereference_raw((pos)->member.next),	\
				      __typeof__(*(pos)), member))

#define hlist_for_each_entry_from_rcu(pos, member)				\
	for (; (pos);								\
	     (pos) = hlist_entry_safe(rcu_dereference_raw((pos)->member.next),	\
				      __typeof__(*(pos)), member))

#endif
