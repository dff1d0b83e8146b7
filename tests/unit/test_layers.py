from tests.layers import ORDER, violations


def test_no_module_imports_a_later_one():
    assert violations() == []


def test_the_order_names_each_package_once():
    assert len(ORDER) == len(set(ORDER))
