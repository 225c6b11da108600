/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/conf_parse.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

struct parser {
	struct conf *conf;
	struct conf_faults *faults;
	struct conf_section *section; /* the open one */
	bool skipping;		      /* the one that is open is broken */
	uint32_t line;		      /* of the text in hand */
};

void conf_faults_init(struct conf_faults *f)
{
	buf_init(&f->errors, CONF_FAULTS_MAX);
	buf_init(&f->notices, CONF_FAULTS_MAX);
	f->nerrors = 0;
}

void conf_faults_deinit(struct conf_faults *f)
{
	buf_deinit(&f->errors);
	buf_deinit(&f->notices);
}

static void say(struct buf *b, const char *file, uint32_t line, const char *fmt,
		va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (line)
		buf_printf(b, "%s:%u: %s\n", file, line, text);
	else
		buf_printf(b, "%s: %s\n", file, text);
}

void conf_fault(struct conf_faults *f, const char *file, uint32_t line,
		const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(&f->errors, file, line, fmt, ap);
	va_end(ap);
	f->nerrors++;
}

void conf_notice(struct conf_faults *f, const char *file, uint32_t line,
		 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(&f->notices, file, line, fmt, ap);
	va_end(ap);
}

#define FAULT(p, ...) \
	conf_fault((p)->faults, (p)->conf->file, (p)->line, __VA_ARGS__)

static bool is_space(char c)
{
	return isspace((unsigned char)c) != 0;
}

static char *trim(char *s)
{
	size_t len;

	while (is_space(*s))
		s++;
	len = strlen(s);
	while (len > 0 && is_space(s[len - 1]))
		s[--len] = '\0';
	return s;
}

static void item_free(struct conf_item *item)
{
	list_remove(&item->link);
	for (uint32_t i = 0; i < item->nvalues; i++)
		free(item->values[i]);
	free(item->values);
	free(item->key);
	free(item);
}

static void section_free(struct conf_section *s)
{
	struct conf_item *item, *tmp;

	list_for_each_safe(item, tmp, &s->items, link)
		item_free(item);
	list_remove(&s->link);
	free(s->name);
	free(s);
}

void conf_free(struct conf *conf)
{
	struct conf_section *s, *tmp;

	if (!conf)
		return;
	list_for_each_safe(s, tmp, &conf->sections, link)
		section_free(s);
	free(conf->file);
	free(conf);
}

struct conf_section *conf_find(const struct conf *conf, const char *name)
{
	struct conf_section *s;

	list_for_each(s, &conf->sections, link) {
		if (strcasecmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

/* The first digits of a section's name are its number. */
static void number_section(struct parser *p, struct conf_section *s)
{
	const char *d = s->name;
	uint64_t n = 0;

	while (*d && !isdigit((unsigned char)*d))
		d++;
	s->has_number = *d != '\0';
	for (; isdigit((unsigned char)*d) && n <= UINT32_MAX; d++)
		n = n * 10 + (uint64_t)(*d - '0');
	if (n > INT32_MAX) {
		FAULT(p, "the number of section [%s] is too large", s->name);
		n = 0;
	}
	s->number = (uint32_t)n;
}

static int open_section(struct parser *p, char *text)
{
	char *end = strchr(text, ']');
	struct conf_section *s;

	p->skipping = true;
	if (!end || end[1] != '\0') {
		FAULT(p, "broken section header '%s'", text);
		return 0;
	}
	*end = '\0';
	text++;
	if (*text == '\0') {
		FAULT(p, "a section has no name");
		return 0;
	}
	p->skipping = false;
	p->section = conf_find(p->conf, text);
	if (p->section)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	list_init(&s->items);
	s->line = p->line;
	list_push_back(&p->conf->sections, &s->link);
	p->section = s;
	s->name = strdup(text);
	if (!s->name)
		return -ENOMEM;
	number_section(p, s);
	return 0;
}

enum word { WORD_NONE, WORD_GOOD, WORD_UNENDED };

/*
 * Takes the next word off *@text, in place. "..." with \x for any character;
 * '...' as it stands; \x elsewhere is the character itself; quotes may begin
 * inside a word.
 */
static enum word next_word(char **text, char **ret_word)
{
	char *in = *text, *out;
	char quote = '\0';

	while (*in == ' ' || *in == '\t')
		in++;
	if (*in == '\0')
		return WORD_NONE;
	*ret_word = out = in;
	for (; *in; in++) {
		if (!quote && (*in == ' ' || *in == '\t')) {
			in++;
			break;
		}
		if (*in == '\\' && quote != '\'' && in[1] != '\0')
			*out++ = *++in;
		else if (quote && *in == quote)
			quote = '\0';
		else if (!quote && (*in == '"' || *in == '\''))
			quote = *in;
		else
			*out++ = *in;
	}
	*text = in;
	*out = '\0';
	return quote ? WORD_UNENDED : WORD_GOOD;
}

static int add_value(struct conf_item *item, const char *value)
{
	/* Grows by doubling: 1, 2, 4, ... */
	if ((item->nvalues & (item->nvalues - 1)) == 0) {
		size_t room = item->nvalues ? item->nvalues * 2u : 1u;
		char **v = reallocarray(item->values, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		item->values = v;
	}
	item->values[item->nvalues] = strdup(value);
	if (!item->values[item->nvalues])
		return -ENOMEM;
	item->nvalues++;
	return 0;
}

static int add_values(struct parser *p, struct conf_item *item, char *text)
{
	enum word kind;
	char *word;
	int error;

	while ((kind = next_word(&text, &word)) != WORD_NONE) {
		if (kind == WORD_UNENDED) {
			FAULT(p, "key '%s' has a quote that does not end",
			      item->key);
			return 0;
		}
		if (item->nvalues == CONF_VALUES_MAX) {
			FAULT(p, "key '%s' has more than %u values", item->key,
			      CONF_VALUES_MAX);
			return 0;
		}
		error = add_value(item, word);
		if (error < 0)
			return error;
	}
	return 0;
}

static int add_item(struct parser *p, char *text)
{
	struct conf_item *item;
	enum word kind;
	char *key;

	/* What follows a broken header belongs to nothing. */
	if (p->skipping)
		return 0;
	if (!p->section) {
		FAULT(p, "'%s' stands before any section", text);
		return 0;
	}
	kind = next_word(&text, &key);
	if (kind == WORD_UNENDED) {
		FAULT(p, "a quote does not end");
		return 0;
	}
	if (kind == WORD_NONE)
		return 0;
	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	list_init(&item->link);
	list_push_back(&p->section->items, &item->link);
	item->line = p->line;
	item->key = strdup(key);
	if (!item->key)
		return -ENOMEM;
	return add_values(p, item, text);
}

static int parse_line(struct parser *p, char *line)
{
	char *text = trim(line);

	if (*text == '\0' || *text == '#')
		return 0;
	if (*text == '[')
		return open_section(p, text);
	return add_item(p, text);
}

/*
 * Copies the next logical line into @out: physical lines that end in a
 * backslash are joined with what follows. Returns where the next one begins.
 */
static const char *join_line(const char *text, const char *end, char *out,
			     uint32_t *ret_nlines)
{
	uint32_t n = 0;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((nl ? nl : end) - text);
		bool more = nl && len > 0 && text[len - 1] == '\\';

		memcpy(out, text, len - more);
		out += len - more;
		text = nl ? nl + 1 : end;
		n++;
		if (!more)
			break;
	}
	*out = '\0';
	*ret_nlines = n;
	return text;
}

static int parse_text(struct parser *p, const char *text, size_t len)
{
	const char *end = text + len;
	char *line = malloc(len + 1);
	uint32_t nlines;
	int error = 0;

	if (!line)
		return -ENOMEM;
	p->line = 1;
	while (text < end && error == 0) {
		text = join_line(text, end, line, &nlines);
		error = parse_line(p, line);
		p->line += nlines;
	}
	wipe(line, len + 1);
	free(line);
	return error;
}

static struct conf *conf_new(const char *file)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf)
		return NULL;
	list_init(&conf->sections);
	conf->file = strdup(file);
	if (!conf->file) {
		free(conf);
		return NULL;
	}
	return conf;
}

int conf_parse(const char *file, const char *text, size_t len,
	       struct conf_faults *faults, struct conf **ret)
{
	struct parser p = {.faults = faults};
	uint32_t before = faults->nerrors;
	int error;

	p.conf = conf_new(file);
	if (!p.conf)
		return -ENOMEM;
	if (memchr(text, '\0', len))
		conf_fault(faults, file, 0, "has a NUL byte");
	else if ((error = parse_text(&p, text, len)) < 0) {
		conf_free(p.conf);
		return error;
	} else if (list_empty(&p.conf->sections))
		conf_fault(faults, file, 0, "has no section");
	*ret = p.conf;
	return faults->nerrors > before ? -EINVAL : 0;
}

static int read_all(int fd, struct buf *b)
{
	ssize_t n;

	do {
		uint8_t *to = buf_reserve(b, 65536);

		if (!to)
			return -EFBIG;
		n = read(fd, to, 65536);
		if (n < 0)
			return -errno;
		buf_commit(b, (size_t)n);
	} while (n > 0);
	buf_append_byte(b, '\0');
	return b->failed ? -EFBIG : 0;
}

int conf_read_file(const char *path, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;
	int error;

	if (fd < 0)
		return -errno;
	buf_init(&b, CONF_FILE_MAX);
	error = read_all(fd, &b);
	close(fd);
	if (error < 0) {
		wipe(b.data, b.len);
		buf_deinit(&b);
		return error;
	}
	*ret_len = b.len - 1;
	*ret = (char *)take(&b.data);
	return 0;
}
