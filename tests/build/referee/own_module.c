/* SPDX-License-Identifier: MIT */
/*
 * own_module.c - a module of karc's own for the driver, in the manner of the ones it is for
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static int rounds = 1;
module_param(rounds, int, 0444);
MODULE_PARM_DESC(rounds, "how often each worker goes round");

static DECLARE_COMPLETION(all_done);
static atomic_t nr_left;
static DEFINE_PER_CPU(unsigned int, nr_rounds);

static int worker(void *arg)
{
	int i;

	for (i = 0; i < rounds; i++) {
		size_t size = prandom_u32_max(20000) + 1;
		char *p = kvmalloc(size, GFP_KERNEL);

		if (p)
			p[size - 1] = 1;
		kvfree(p);
		this_cpu_inc(nr_rounds);
	}
	if (atomic_dec_and_test(&nr_left))
		complete(&all_done);
	while (!kthread_should_stop())
		msleep(1);
	return *(int *)arg;
}

static int __init own_module_init(void)
{
	struct task_struct *task[3];
	int numbers[3] = { 1, 2, 3 }, i, sum = 0;
	unsigned int nr = 0, cpu;

	atomic_set(&nr_left, 3);
	for (i = 0; i < 3; i++) {
		task[i] = kthread_run(worker, &numbers[i], "own/%d", i);
		if (IS_ERR(task[i]))
			return PTR_ERR(task[i]);
	}
	wait_for_completion(&all_done);
	for (i = 0; i < 3; i++)
		sum += kthread_stop(task[i]);
	for_each_online_cpu(cpu)
		nr += per_cpu(nr_rounds, cpu);
	pr_info("%u rounds, sum %d\n", nr, sum);
	return sum == 6 && IS_ENABLED(CONFIG_SMP) ? 0 : -EINVAL;
}

static void __exit own_module_exit(void)
{
	pr_info("gone\n");
}

module_init(own_module_init);
module_exit(own_module_exit);
MODULE_LICENSE("GPL");
