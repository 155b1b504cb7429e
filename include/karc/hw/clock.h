/* SPDX-License-Identifier: MIT */
/*
 * clock.h - time, timers, ticks
 *
 * In deterministic mode time passes a little at safe points and jumps to the next timer when no
 * fiber can run, so a test that sleeps an hour takes no time and each run sees the same times. In
 * parallel mode it is the host's monotonic time, which jumps in the same way when all CPUs are
 * idle, unless one is outside or machine_config.wall_time says no.
 */
#ifndef KARC_HW_CLOCK_H
#define KARC_HW_CLOCK_H

#include <karc/base/rbtree.h>
#include <karc/base/site.h>
#include <karc/hw/cpu.h>

typedef s64 ktime_t;

#define NSEC_PER_SEC	1000000000L
#define NSEC_PER_MSEC	1000000L
#define NSEC_PER_USEC	1000L
#define USEC_PER_SEC	1000000L
#define USEC_PER_MSEC	1000L
#define MSEC_PER_SEC	1000L

#define HZ 100	/* as <sys/param.h> spells it, which may be included too */
#define NSEC_PER_JIFFY	(NSEC_PER_SEC / HZ)

u64 ktime_get_ns(void);		/* since boot, of the current machine */

static inline ktime_t ktime_get(void)
{
	return (ktime_t)ktime_get_ns();
}

#define ktime_to_ns(time)	((s64)(time))
#define ns_to_ktime(ns)		((ktime_t)(ns))
#define ktime_to_us(time)	((s64)(time) / NSEC_PER_USEC)
#define ktime_to_ms(time)	((s64)(time) / NSEC_PER_MSEC)
#define ktime_add(a, b)		((ktime_t)((a) + (b)))
#define ktime_sub(a, b)		((ktime_t)((a) - (b)))
#define ktime_add_ns(time, ns)	((ktime_t)((time) + (s64)(ns)))
#define ktime_add_us(time, us)	((ktime_t)((time) + (s64)(us) * NSEC_PER_USEC))
#define ktime_add_ms(time, ms)	((ktime_t)((time) + (s64)(ms) * NSEC_PER_MSEC))
#define ktime_us_delta(later, earlier)	ktime_to_us(ktime_sub(later, earlier))
#define ktime_ms_delta(later, earlier)	ktime_to_ms(ktime_sub(later, earlier))
#define ktime_before(a, b)	((s64)(a) < (s64)(b))
#define ktime_after(a, b)	((s64)(a) > (s64)(b))

/* The simulated CPUs have a time stamp counter of 1 GHz, the same on each. */
typedef unsigned long long cycles_t;

static inline cycles_t get_cycles(void)
{
	return ktime_get_ns();
}

static inline unsigned long clock_jiffies(void)
{
	return (unsigned long)(ktime_get_ns() / NSEC_PER_JIFFY);
}

#define jiffies		clock_jiffies()

static inline unsigned long msecs_to_jiffies(unsigned int ms)
{
	return (unsigned long)(((u64)ms * HZ + MSEC_PER_SEC - 1) / MSEC_PER_SEC);
}

static inline unsigned long usecs_to_jiffies(unsigned int us)
{
	return (unsigned long)(((u64)us * HZ + USEC_PER_SEC - 1) / USEC_PER_SEC);
}

static inline unsigned int jiffies_to_msecs(unsigned long j)
{
	return (unsigned int)(j * MSEC_PER_SEC / HZ);
}

#define time_after(a, b)	((long)((b) - (a)) < 0)
#define time_before(a, b)	time_after(b, a)
#define time_after_eq(a, b)	((long)((a) - (b)) >= 0)
#define time_before_eq(a, b)	time_after_eq(b, a)

/* A one-shot timer of the CPU that started it. The owner keeps its memory until it ran. */
struct hw_timer {
	struct rb_node node;
	u64 expires_ns;
	u64 seq;			/* breaks ties: first started, first run */
	struct cpu *cpu;
	bool pending;			/* under the lock of ->cpu's timers */
	struct { void (*fn)(struct hw_timer *timer); };
	const struct site *site;	/* where it was started */
};

void hw_timer_init(struct hw_timer *timer, void (*fn)(struct hw_timer *timer));

/**
 * hw_timer_start - run timer->fn on this CPU at virtual time @expires_ns (absolute)
 *
 * In hardirq context. A pending timer is moved, to this CPU too. A time that has passed means
 * the next safe point.
 * Context: any.
 */
void hw_timer_start_site(struct hw_timer *timer, u64 expires_ns, const struct site *site);
void (hw_timer_start)(struct hw_timer *timer, u64 expires_ns);
#define hw_timer_start(timer, expires_ns) hw_timer_start_site(timer, expires_ns, SITE())

/**
 * hw_timer_find_in - a timer in [@p, @p + @bytes) that is armed, and where it was started
 *
 * For who is about to free that memory. Costs a look at a small table as long as no timer is armed
 * in such an address. Context: any.
 */
struct hw_timer *hw_timer_find_in(const void *p, size_t bytes, const struct site **site);

/* Take it back; true if it had not run. Its function may be running still on another CPU. */
bool hw_timer_cancel(struct hw_timer *timer);

/* The same, and wait for a function that runs on another CPU. Not from the function itself. */
bool hw_timer_cancel_sync(struct hw_timer *timer);

/**
 * machine_on_tick - register what each timer tick of a CPU calls
 * @fn: in hardirq context of that CPU, HZ times a second while it runs a fiber; NULL takes it away
 *
 * A tick that finds other fibers ready asks the running one to give way, hook or not.
 */
void machine_on_tick(struct machine *m, void (*fn)(void));

/* The same for a room of the house, before the hook above; each has one of its own. */
void machine_on_room_tick(struct machine *m, enum room_id id, void (*fn)(void));

/* Busy waiting: cpu_relax() until the time has passed. Any context. */
void ndelay(unsigned long ns);
void udelay(unsigned long us);
void mdelay(unsigned long ms);

/* Sleeping. */
void msleep(unsigned int ms);
void usleep_range(unsigned long min_us, unsigned long max_us);

#endif
