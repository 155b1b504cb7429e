/* SPDX-License-Identifier: MIT */
/*
 * Goal: no bytes at all make the reader of recordings crash, hang or read what is not its own,
 * and what it accepts is written so that it reads back as the same.
 * Method: libFuzzer, with the address and undefined behaviour sanitizers. The lines that are read
 * before the first error are written again, and that text has to give the same lines.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recording.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct recording *open_bytes(const void *data, size_t size)
{
	struct recording_error err = { .line = 0 };
	FILE *in = fmemopen((void *)(uintptr_t)data, size, "r");

	return in ? recording_open_stream(in, &err) : NULL;
}

static void write_head(struct recording *rec, FILE *out)
{
	const struct rec_info *info = recording_info(rec);

	recording_write_info(out, info);
	for (uint32_t id = 1; id <= info->nr_files; id++)
		recording_write_file(out, recording_file(rec, id));
	recording_write_body(out);
}

/* Reads all of it, writing what is read; gives the text, which the caller frees. */
static char *rewrite(struct recording *rec, size_t *length)
{
	struct recording_error err;
	struct rec_call call;
	char *text = NULL;
	FILE *out = open_memstream(&text, length);
	uint64_t nr = 0;
	int got;

	if (!out)
		abort();
	write_head(rec, out);
	while ((got = recording_next(rec, &call, &err)) > 0) {
		if (call.text && strlen(call.text) != call.text_bytes)
			abort();
		recording_write_call(out, &call);
		nr++;
	}
	if (got < 0 && (!err.what[0] || recording_next(rec, &call, &err) != -1))
		abort();
	recording_write_end(out, nr);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct recording *rec = open_bytes(data, size), *again;
	size_t length, length_again;
	char *text, *text_again;

	if (!rec)
		return 0;
	text = rewrite(rec, &length);
	recording_close(rec);
	again = open_bytes(text, length);
	if (!again)
		abort();
	text_again = rewrite(again, &length_again);
	if (length != length_again || memcmp(text, text_again, length) != 0)
		abort();
	recording_close(again);
	free(text_again);
	free(text);
	return 0;
}
