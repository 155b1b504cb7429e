/* SPDX-License-Identifier: MIT */
/*
 * graph_text.c - names of foreign origin in DOT's HTML labels and in JSON
 *
 * A file's name or a task's may be any bytes. What is no UTF-8 becomes a question mark, for dot
 * refuses the whole file otherwise.
 */
#include "graph_text.h"
#include <string.h>

/* Bytes of the UTF-8 sequence at @s, 0 if there is none. */
static size_t sequence(const unsigned char *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 :
		     (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
	size_t i;

	for (i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;		/* overlong, surrogate, beyond the last */
	return len;
}

static const char *html_entity(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	default:
		return (unsigned char)c < 0x20 || c == 0x7f ? "?" : NULL;
	}
}

void text_html(FILE *out, const char *text, unsigned int max)
{
	size_t len;

	for (; *text && max; text += len, max--) {
		const char *entity = html_entity(*text);

		len = sequence((const unsigned char *)text);
		if (entity || !len)
			fputs(entity ? entity : "?", out);
		else
			fwrite(text, 1, len, out);
		len += !len;
	}
	if (*text)
		fputs("&#8230;", out);
}

void text_json(FILE *out, const char *text)
{
	size_t len;

	fputc('"', out);
	for (; *text; text += len) {
		len = sequence((const unsigned char *)text);
		if (!len)
			fputc('?', out);
		else if ((unsigned char)*text < 0x20 || *text == 0x7f)
			fprintf(out, "\\u%04x", (unsigned int)(unsigned char)*text);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			fwrite(text, 1, len, out);
		len += !len;
	}
	fputc('"', out);
}
