/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_GRAPH_TEXT_H
#define KARC_TOOLS_GRAPH_TEXT_H

/*
 * graph_text.h - texts of any bytes, written where only some may stand
 */
#include <stdio.h>

/* At most @max characters, then an ellipsis; for the inside of DOT's <...> labels. */
void text_html(FILE *out, const char *text, unsigned int max);
/* With its quotation marks. */
void text_json(FILE *out, const char *text);

#endif
