import re

import pytest

from jobs.store.lua_source import shared_text, verb_files
from jobs.store.redis_keys import FAMILY, SINGLE, Keys
from tests.support.bench import Bench

VERBS = {verb: file.read_text("utf-8") for verb, file in verb_files().items()}
SCRIPTS = {**VERBS, "shared functions": shared_text()}


def test_lua_and_python_build_the_same_keys(bench: Bench) -> None:
    keys = Keys("{x}:")
    names = [*SINGLE, *FAMILY]
    built = bench.raw.eval(keys.lua(f"return {{{','.join(f'KEY.{name}' for name in names)}}}"), 0)
    assert built == [keys.singleton(name) if name in SINGLE else keys.member(name, "") for name in names]


def test_no_two_key_names_collide() -> None:
    suffixes = [*SINGLE.values(), *FAMILY.values()]
    assert len(set(suffixes)) == len(suffixes)
    assert not any(single.startswith(family) for single in SINGLE.values() for family in FAMILY.values())


def test_all_keys_are_in_one_hash_slot() -> None:
    assert re.fullmatch(r"\{[^{}]+\}:", Keys().prefix)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_use_only_the_names_of_keys(name: str) -> None:
    text = SCRIPTS[name]
    assert set(re.findall(r"\bKEY\.(\w+)", text)) <= SINGLE.keys() | FAMILY.keys()
    code = re.sub(r"--.*", "", text)
    assert not re.search(r"\bKEYS\b", code)
    assert not re.search(r"redis\.call\('(?:KEYS|SCAN|TIME)'", code)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_documents_its_contract_and_checks_its_arity(name: str) -> None:
    text = VERBS[name]
    assert "-- KEYS[1]:" in text
    assert "-- ARGV:" in text
    assert "-- Returns:" in text
    assert re.search(r"arity\(\d+\)|#ARGV", text)
