/* SPDX-License-Identifier: MIT */
/*
 * Goal: the ring keeps the newest records whole, in order and numbered.
 * Method: a list of all lines ever written is the model; the ring must hold a suffix of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>

static struct {
	struct log *log;
} current_ring;

struct log *karc_log_hook(void)
{
	return current_ring.log;
}

static void quiet_log(struct log *log, struct hostmem_account *account, size_t size)
{
	assert_int_equal(karc_log_init(log, account, size), 0);
	log->console = NULL;
}

static void printk_takes_level_and_text_from_its_prefix(void **state)
{
	struct log_record record;
	struct log log;
	u64 seq = 0;

	(void)state;
	quiet_log(&log, NULL, 0);
	current_ring.log = &log;
	assert_int_equal(pr_err("bad page %d\n", 7), 11);
	printk("no level\n");
	pr_info("two\nlines\n");
	assert_true(karc_log_read(&log, &seq, &record));
	assert_string_equal(record.text, "bad page 7");
	assert_int_equal(record.level, LOGLEVEL_ERR);
	assert_int_equal(record.seq, 0);
	assert_true(karc_log_read(&log, &seq, &record));
	assert_int_equal(record.level, LOGLEVEL_DEFAULT);
	assert_true(karc_log_read(&log, &seq, &record));
	assert_string_equal(record.text, "two");
	assert_true(karc_log_read(&log, &seq, &record));
	assert_string_equal(record.text, "lines");
	assert_false(karc_log_read(&log, &seq, &record));
	assert_true(karc_log_contains(&log, "page 7"));
	assert_false(karc_log_contains(&log, "page 8"));
	current_ring.log = NULL;
	karc_log_exit(&log);
}

static void continued_messages_become_one_record(void **state)
{
	struct log_record record;
	struct log log;
	u64 seq = 0;

	(void)state;
	quiet_log(&log, NULL, 0);
	current_ring.log = &log;
	pr_info("one");
	pr_cont(" two");
	pr_cont(" three\n");
	pr_info("left open");
	pr_notice("next\n");
	assert_true(karc_log_read(&log, &seq, &record));
	assert_string_equal(record.text, "one two three");
	assert_int_equal(record.level, LOGLEVEL_INFO);
	assert_true(karc_log_read(&log, &seq, &record));
	assert_string_equal(record.text, "left open");
	assert_true(karc_log_read(&log, &seq, &record));
	assert_string_equal(record.text, "next");
	current_ring.log = NULL;
	karc_log_exit(&log);
}

/* The text of line @i: its number, then a tail that depends on it. */
static void make_line(char *text, u64 i)
{
	int len = sprintf(text, "%llu ", i), tail = (int)(i * 37 % 120);

	memset(text + len, 'a' + i % 26, tail);
	text[len + tail] = '\0';
}

static void old_records_make_room_for_new_ones(void **state)
{
	const u64 seed = 0x109;
	struct log_record record;
	char text[200];
	struct log log;
	struct rnd rnd;
	u64 written, seq, expected;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	quiet_log(&log, NULL, 4096);
	for (written = 0; written < 3000; written++) {
		make_line(text, written);
		strcat(text, "\n");
		karc_log_write(&log, LOGLEVEL_INFO, text);
		if (!rnd_chance(&rnd, 1, 20))
			continue;
		seq = 0;
		expected = log.first_seq;
		while (karc_log_read(&log, &seq, &record)) {
			assert_int_equal(record.seq, expected);
			make_line(text, expected++);
			assert_string_equal(record.text, text);
		}
		assert_int_equal(expected, written + 1);
		/* Records average below 128 bytes, so a ring of 4 KiB holds some 30. */
		assert_true(written < 25 || written + 1 - log.first_seq > 20);
	}
	karc_log_clear(&log);
	seq = 0;
	assert_false(karc_log_read(&log, &seq, &record));
	karc_log_write(&log, LOGLEVEL_INFO, "after\n");
	assert_true(karc_log_read(&log, &seq, &record));
	assert_int_equal(record.seq, 3000);
	karc_log_exit(&log);
}

static void long_lines_are_split_not_lost(void **state)
{
	static char text[LOG_TEXT_MAX * 2 + 11];
	struct log_record record;
	struct log log;
	size_t total = 0;
	u64 seq = 0;

	(void)state;
	quiet_log(&log, NULL, 8192);
	memset(text, 'y', sizeof(text) - 2);
	text[sizeof(text) - 2] = '\n';
	text[sizeof(text) - 1] = '\0';
	karc_log_write(&log, LOGLEVEL_INFO, text);
	while (karc_log_read(&log, &seq, &record))
		total += strlen(record.text);
	assert_int_equal(total, sizeof(text) - 2);
	karc_log_exit(&log);
}

static void console_shows_what_is_urgent(void **state)
{
	char *shown = NULL;
	size_t size = 0;
	struct log log;

	(void)state;
	quiet_log(&log, NULL, 0);
	log.console = open_memstream(&shown, &size);
	karc_log_write(&log, LOGLEVEL_INFO, "whisper\n");
	karc_log_write(&log, LOGLEVEL_ERR, "shout\n");
	log.console_level = LOGLEVEL_DEBUG;
	karc_log_write(&log, LOGLEVEL_INFO, "talk\n");
	fclose(log.console);
	assert_string_equal(shown, "shout\ntalk\n");
	free(shown);
	karc_log_exit(&log);
}

static u64 fixed_time(void *arg)
{
	return *(u64 *)arg;
}

static void records_carry_the_time_of_the_clock(void **state)
{
	struct log_record record;
	u64 now = 123456789, seq = 0;
	struct log log;

	(void)state;
	quiet_log(&log, NULL, 0);
	log.clock.now_ns = fixed_time;
	log.clock.arg = &now;
	karc_log_write(&log, LOGLEVEL_INFO, "tick\n");
	assert_true(karc_log_read(&log, &seq, &record));
	assert_int_equal(record.time_ns, now);
	karc_log_exit(&log);
}

static void setting_up_can_fail_and_leaves_nothing(void **state)
{
	struct hostmem_account account = { .fail_nth = 1 };
	struct log log;

	(void)state;
	assert_int_equal(karc_log_init(&log, &account, 4096), -ENOMEM);
	quiet_log(&log, &account, 5000);
	assert_int_equal(account.bytes, 8192);
	karc_log_exit(&log);
	assert_int_equal(account.bytes, 0);
}

#define WRITERS 4
#define MESSAGES 400

struct writer {
	pthread_t thread;
	struct log *log;
	char letter;
};

/* Messages of one piece, of several lines, and of two pieces that belong together. */
static void *write_many(void *arg)
{
	struct writer *w = arg;
	char text[64];

	for (int i = 0; i < MESSAGES; i++) {
		memset(text, w->letter, 40);
		strcpy(text + 40, i % 2 ? "\n" : "");
		karc_log_write(w->log, LOGLEVEL_INFO, text);
		if (i % 2)
			continue;
		karc_log_write(w->log, LOGLEVEL_CONT, strcpy(text + 40, "\n") - 40);
	}
	return NULL;
}

static void assert_one_letter(const char *text)
{
	for (size_t i = 1; text[i]; i++)
		assert_int_equal(text[i], text[0]);
}

static void messages_of_several_threads_do_not_mix(void **state)
{
	struct writer w[WRITERS];
	struct log_record record;
	size_t total = 0, shown_bytes = 0;
	char line[LOG_TEXT_MAX];
	struct log log;
	u64 seq = 0;

	(void)state;
	quiet_log(&log, NULL, 1 << 20);
	/* A memory stream moves as it grows, under a lock that the thread sanitizer does not see. */
	log.console = tmpfile();
	assert_non_null(log.console);
	log.console_level = LOGLEVEL_DEBUG;
	for (int i = 0; i < WRITERS; i++) {
		w[i].log = &log;
		w[i].letter = (char)('a' + i);
		assert_int_equal(pthread_create(&w[i].thread, NULL, write_many, &w[i]), 0);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(w[i].thread, NULL);
	while (karc_log_read(&log, &seq, &record)) {
		assert_one_letter(record.text);
		total += strlen(record.text);
	}
	rewind(log.console);
	while (fgets(line, sizeof(line), log.console)) {
		assert_non_null(strchr(line, '\n'));
		shown_bytes += strlen(line) - 1;
	}
	fclose(log.console);
	/* Each message is 40 letters, those of two pieces 80. */
	assert_int_equal(total, WRITERS * MESSAGES / 2 * 120);
	assert_int_equal(shown_bytes, total);
	karc_log_exit(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(printk_takes_level_and_text_from_its_prefix),
		cmocka_unit_test(continued_messages_become_one_record),
		cmocka_unit_test(old_records_make_room_for_new_ones),
		cmocka_unit_test(long_lines_are_split_not_lost),
		cmocka_unit_test(console_shows_what_is_urgent),
		cmocka_unit_test(records_carry_the_time_of_the_clock),
		cmocka_unit_test(setting_up_can_fail_and_leaves_nothing),
		cmocka_unit_test(messages_of_several_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
