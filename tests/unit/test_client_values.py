"""Choices of any type, and numbers in steps, as a person gives them and as a JSON Schema describes them."""

import json

import pytest
from jsonschema import Draft202012Validator
from pack.client import prompts, schema, settings, values
from pack.client.errors import UsageError

CHOICES = {
    "number": [0.5, 1, 2.0],
    "integer": [5, 8],
    "boolean": [True, False],
    "": ["auto", 1, 0.25, True],  # of several types
    "string": ["1", "one"],
}


def choice_setting(options):
    declared = {"of_old": [options, {}], "of_today": ["COMBO", {"options": options}]}
    prompt = {"3": {"class_type": "Choose", "inputs": {"of_old": options[0], "of_today": options[0]}}}
    old, today = settings.settings_of(prompt, {"Choose": {"input": {"required": declared}}})
    assert (old.kind, old.options) == (today.kind, today.options)
    return today


@pytest.mark.parametrize("kind", CHOICES)
def test_every_choice_is_taken_as_it_is_and_as_it_is_written(kind):
    setting = choice_setting(CHOICES[kind])
    assert setting.kind == kind
    made = json.loads(json.dumps(schema.schema_of("x", [setting])))
    assert [read.kind for read in schema.settings_in(made)] == [kind]
    for option in CHOICES[kind]:
        Draft202012Validator(made).validate({"of_today": option})
        for given in (option, str(option)):
            read = values.read(setting, given)
            assert (read, type(read)) == (option, type(option))


@pytest.mark.parametrize(
    ("kind", "given"),
    [("number", 0.75), ("number", True), ("integer", 6), ("integer", True), ("boolean", 2), ("boolean", "maybe"),
     ("", "never"), ("string", 1), ("string", None)],
)  # fmt: skip
def test_what_is_no_choice_is_refused(kind, given):
    with pytest.raises(UsageError, match=r"^of_today must be one of "):
        values.read(choice_setting(CHOICES[kind]), given)


def number_setting(value, kind="INT", **more):
    prompt = {"7": {"class_type": "Clip", "inputs": {"duration": value}}}
    (setting,) = settings.settings_of(prompt, {"Clip": {"input": {"required": {"duration": [kind, more]}}}})
    return setting


def test_a_number_in_few_steps_is_a_choice_of_them():
    setting = number_setting(5, min=5, max=8, step=3)
    made = schema.schema_of("x", [setting])
    assert made["properties"]["duration"]["enum"] == [5, 8]
    assert [values.read(setting, given) for given in ("5", 8)] == [5, 8]
    for given in (6, 7):
        assert list(Draft202012Validator(made).iter_errors({"duration": given}))
        with pytest.raises(UsageError, match=rf"^duration must be one of 5, 8, got '{given}'\.$"):
            values.read(setting, given)


@pytest.mark.parametrize("name", [name for name in prompts.names() if "hosted" in name])
def test_the_shipped_schemas_take_the_lengths_that_providers_have_and_no_others(name):
    shipped = Draft202012Validator(schema.load(name))
    assert [seconds for seconds in range(12) if shipped.is_valid({"duration": seconds})] == [5, 8]


@pytest.mark.parametrize(
    ("value", "kind", "more"),
    [
        (5, "INT", {"min": 5, "max": 8}),
        (5, "INT", {"min": 5, "max": 8, "step": 1}),
        (5, "INT", {"max": 8, "step": 3}),
        (0, "INT", {"min": 0, "max": 36, "step": 3}),  # 13 of them
        (6, "INT", {"min": 5, "max": 8, "step": 3}),  # the prompt does not keep to it
        (4.0, "FLOAT", {"min": 0.0, "max": 8.0, "step": 4.0}),
    ],
)
def test_other_numbers_are_a_range(value, kind, more):
    setting = number_setting(value, kind, **more)
    assert setting.options is None
    assert "enum" not in schema.property_of(setting)
    assert values.read(setting, 7) == 7


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "string"])
def test_a_number_of_hundreds_of_digits_is_refused(kind, digits):
    """As JSON and TOML may hold one. It is larger than any that a node takes."""
    with pytest.raises(UsageError, match=r"^x must be "):
        values.read(settings.Setting("x", "1", "x", "X", kind, 1, maximum=10.0), 10**digits)
