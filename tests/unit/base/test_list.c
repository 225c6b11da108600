/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include "base/list.h"

struct item {
	int value;
	struct list link;
};

static struct item items[4];

static void setup(struct list *l, int n)
{
	list_init(l);
	for (int i = 0; i < 4; i++) {
		items[i].value = i;
		list_init(&items[i].link);
		if (i < n)
			list_push_back(l, &items[i].link);
	}
}

/* Compares the list, in both directions, with decimal digits. */
static void check(struct list *l, const char *want)
{
	struct list *node = l->next;

	for (const char *p = want; *p; p++) {
		assert_ptr_not_equal(node, l);
		assert_int_equal(list_entry(node, struct item, link)->value,
				 *p - '0');
		assert_ptr_equal(node->next->prev, node);
		assert_ptr_equal(node->prev->next, node);
		node = node->next;
	}
	assert_ptr_equal(node, l);
	assert_int_equal(list_empty(l), *want == '\0');
}

static void test_push_remove(void **state)
{
	struct list l;

	setup(&l, 0);
	check(&l, "");
	assert_false(list_linked(&items[0].link));
	list_push_back(&l, &items[0].link);
	list_push_back(&l, &items[1].link);
	list_push_front(&l, &items[2].link);
	check(&l, "201");
	assert_true(list_linked(&items[0].link));
	assert_int_equal(list_first(&l, struct item, link)->value, 2);

	list_remove(&items[0].link);
	check(&l, "21");
	list_remove(&items[0].link);
	check(&l, "21");
	assert_false(list_linked(&items[0].link));
}

static void test_pop(void **state)
{
	struct list l;

	setup(&l, 2);
	assert_ptr_equal(list_pop_front(&l), &items[0].link);
	assert_false(list_linked(&items[0].link));
	assert_ptr_equal(list_pop_front(&l), &items[1].link);
	assert_null(list_pop_front(&l));
	check(&l, "");
}

static void test_splice(void **state)
{
	struct list a, b;

	setup(&a, 2);
	list_init(&b);
	list_splice_back(&a, &b);
	check(&a, "01");
	list_splice_back(&b, &a);
	check(&a, "");
	check(&b, "01");
	list_push_back(&a, &items[2].link);
	list_push_back(&a, &items[3].link);
	list_splice_back(&b, &a);
	check(&b, "0123");
	check(&a, "");
}

static void test_for_each(void **state)
{
	struct list l;
	struct item *pos, *tmp;
	int sum = 0;

	setup(&l, 4);
	list_for_each(pos, &l, link)
		sum = sum * 10 + pos->value;
	assert_int_equal(sum, 123);

	list_for_each_safe(pos, tmp, &l, link) {
		if (pos->value % 2 == 0)
			list_remove(&pos->link);
	}
	check(&l, "13");
	setup(&l, 0);
	list_for_each(pos, &l, link)
		fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_push_remove),
		cmocka_unit_test(test_pop),
		cmocka_unit_test(test_splice),
		cmocka_unit_test(test_for_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
