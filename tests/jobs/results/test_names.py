"""Names of outputs: no two jobs get one, on no file system, and every file system takes them."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PureWindowsPath
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from jobs.job import Job
from jobs.results.encoding import encode_id, encode_text
from jobs.results.names import (
    DEFAULT,
    ENDINGS,
    MOST_NAME,
    MOST_PART,
    Template,
    TemplateInvalid,
    another_name,
    batch_folder,
    manifest_name,
    sidecar_name,
)
from jobs.states import State
from schemas.media import ALL

MOMENT = datetime(2026, 3, 9, 23, 30, tzinfo=UTC)
HASH = "ab" * 32
GOOD = [
    DEFAULT,
    "{label[sku]}/{job}-{index}.{ext}",
    "{batch}/{label[sku]}-{key}-{index}.{ext}",
    "{date}/{job}_{index}.{ext}",
    "{year}/{month}/{day}/{owner}/{index}-{job}.{ext}",
    "{job}/{index}.{ext}",
    "by hash/{sha256}.{ext}",
    "{label[a]}/{label[b]}/{model}-{sha256}-{index}.{ext}",
    "x/{label[a]}{key}{index}.{ext}".replace("{key}{index}", "{key}i{index}"),
    "{job}/{label[a]}-{index}.{ext}",
    "{batch}/{index}_{date}{job}{sha256}.{ext}",
]
BAD = {
    "{batch}/{index}.{ext}": "two jobs",
    "{label[sku]}/{label[n]}-{index}.{ext}": "two jobs",
    "{batch}/{label[sku]}-{job}-{index}.{ext}": "two jobs",
    "{batch}/{key}-{label[a]}-{index}.{ext}": "two jobs",
    "{batch}/{job}{job}-{index}.{ext}": "two jobs",
    "{batch}/{job}.{ext}": "one name",
    "{batch}/{key}.{ext}": "one name",
    "{batch}/{job}{index}.{ext}": "beside",
    "{batch}/{index}{job}.{ext}": "beside",
    "{batch}/{job}-1{index}.{ext}": "beside",
    "{batch}/{job}-{index}2.{ext}": "beside",
    "{batch}/{index}{index}-{job}.{ext}": "beside",
    "{job}-{index}.{ext}": "folders",
    "/{job}-{index}.{ext}": "folders",
    "a//{job}-{index}.{ext}": "folders",
    "": "folders",
    "../{job}-{index}.{ext}": "dot",
    ".hidden/{job}-{index}.{ext}": "dot",
    " a/{job}-{index}.{ext}": "space",
    "a/{job}-{index}": "end with",
    "a/{job}-{index}.png": "end with",
    "a/{job}-{index}{ext}": "end with",
    "{ext}/{job}-{index}.{ext}": "end with",
    "a/{jobs}-{index}.{ext}": "no field {jobs}",
    "a/{job}-{index}-{label}.{ext}": "label",
    "a/{job[x]}-{index}.{ext}": "brackets",
    "a/{job-{index}.{ext}": "brace",
    "a/{{job}}-{index}.{ext}": "brace",
    "a/{job!r}-{index}.{ext}": "brace",
    "a:b/{job}-{index}.{ext}": "characters",
    "a\\b/{job}-{index}.{ext}": "characters",
    "a\0/{job}-{index}.{ext}": "characters",
    "ä/{job}-{index}.{ext}": "characters",
    "~/{job}-{index}.{ext}": "characters",
    "a/" + "x" * 200 + "{job}-{index}.{ext}": "bytes",
    "{label[a]}/" * 20 + "{job}-{index}.{ext}": "bytes",
}
TEMPLATES = [Template.parse(text) for text in GOOD]


def job(job_id: str = "fox", batch: str | None = "zoo", owner: str = "shop", later: int = 0) -> Job:
    created = MOMENT + timedelta(seconds=later)
    return Job(
        id=job_id, state=State.COMPLETED, model="kirin", n=1, attempt=1, fence=1,
        created_at=created, updated_at=created, ended_at=created, batch=batch, owner=owner,
    )  # fmt: skip


def on_any_file_system(name: str) -> str:
    """Return what two names share if some file system takes them for one."""
    parts = [part.rstrip(". ") for part in name.split("/")]
    return unicodedata.normalize("NFD", "/".join(parts)).casefold()


def test_the_default_reads_well() -> None:
    named = Template.parse(DEFAULT).name(job("sku-4711@shop"), 0, "png", HASH, {})
    assert named == "zoo/sku-4711@shop-0.png"
    assert sidecar_name(job("sku-4711@shop")) == "zoo/sku-4711@shop.json"
    assert manifest_name("zoo") == "zoo/manifest.ndjson"
    assert Template.parse(DEFAULT).name(job(batch=None), 3, "jpg", HASH, {}) == "~single/fox-3.jpg"


def test_fields_have_their_values() -> None:
    template = Template.parse(
        "{year}/{month}/{day}/{date}/{label[Sku Nr]}/{owner}-{model}/{sha256}-{job}-{index}.{ext}"
    )
    assert template.name(job(), 12, "webp", HASH, {"Sku Nr": "Größe 5/6"}) == (
        f"2026/03/09/2026-03-09/Größe 5_6/shop-kirin/{HASH}-fox-12.webp"
    )
    assert "/_/" in template.name(job(), 12, "webp", HASH, {})


@pytest.mark.parametrize("text", BAD)
def test_a_template_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(TemplateInvalid, match=BAD[text].replace("{", r"\{")):
        Template.parse(text)


ids = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,12}(@[a-z0-9]{1,4})?", fullmatch=True),
    st.sampled_from(
        ["con", "CON", "Con.x", "nul", "com1", "lpt9.txt", "a.", "a..", "a.json", "a.PNG", "manifest.ndjson"]
    ),
    st.text("aAbB:._-@1~ué\u0301ß\u0130", min_size=1, max_size=6),
    st.text(min_size=1, max_size=160),
)
texts = st.one_of(
    st.text("aA-._ 01/\\~:", max_size=8), st.text(max_size=90), st.sampled_from(["..", "con", "NUL.", "a.json"])
)
labels = st.fixed_dictionaries({}, optional={"a": texts, "b": texts, "sku": texts})
extensions = st.sampled_from([each.extension for each in ALL])
indices = st.integers(0, 17)


#: A job's id, the number of an output, the job's labels, the output's extension.
outputs = st.tuples(ids, indices, labels, extensions)


@pytest.mark.slow
@given(st.sampled_from(TEMPLATES), outputs, outputs)
@example(TEMPLATES[0], ("a", 1, {}, "png"), ("a-1", 0, {}, "png"))
@example(TEMPLATES[0], ("Fox", 0, {}, "png"), ("fox", 0, {}, "png"))
@example(TEMPLATES[0], ("a:u", 0, {}, "png"), ("A:", 0, {}, "png"))
@example(TEMPLATES[5], ("con", 0, {}, "png"), ("CON", 0, {}, "png"))
@example(TEMPLATES[5], ("a", 0, {}, "png"), ("a.", 0, {}, "png"))
@example(TEMPLATES[2], ("a", 0, {"sku": "x-y"}, "png"), ("b", 0, {"sku": "x"}, "png"))
def test_two_jobs_never_get_one_name(template: Template, one: Any, other: Any) -> None:
    assume(one[:2] != other[:2])
    by_content = "{job}" not in template.text and "{key}" not in template.text
    hashes = ("aa" * 32, "bb" * 32) if by_content else (HASH, HASH)
    names = [
        template.name(job(job_id), index, extension, digest, given_labels)
        for (job_id, index, given_labels, extension), digest in zip((one, other), hashes, strict=True)
    ]
    assert on_any_file_system(names[0]) != on_any_file_system(names[1])


@given(st.sampled_from(TEMPLATES), outputs, st.none() | ids, st.text(max_size=40))
def test_every_file_system_takes_a_name(template: Template, output: Any, batch: str | None, owner: str) -> None:
    job_id, index, given_labels, extension = output
    one = job(job_id, batch, owner)
    name = template.name(one, index, extension, HASH, given_labels)
    for each in (name, another_name(name, HASH), sidecar_name(one), manifest_name(batch)):
        assert len(each.encode()) <= MOST_NAME
        for part in each.split("/"):
            assert 0 < len(part.encode()) <= MOST_PART
            assert part not in (".", "..")
            assert not part.startswith((".", " "))
            assert not part.endswith((".", " "))
            assert not set(part) & set('<>:"/\\|?*')
            assert part.isprintable()
            assert not PureWindowsPath(part).is_reserved()
            assert not PureWindowsPath(part.partition(".")[0].rstrip()).is_reserved()
            assert unicodedata.is_normalized("NFC", part)


@given(ids, ids, st.none() | ids, st.none() | ids)
@example("a.json", "a", "x", "x")
@example("manifest", "manifest.ndjson", "x", "x")
@example("a", "a", None, "~single")
def test_sidecars_and_batches_have_names_of_their_own(
    one: str, other: str, batch: str | None, another: str | None
) -> None:
    if one != other:
        assert on_any_file_system(sidecar_name(job(one))) != on_any_file_system(sidecar_name(job(other)))
    if batch != another:
        assert on_any_file_system(batch_folder(batch)) != on_any_file_system(batch_folder(another))
    assert on_any_file_system(sidecar_name(job(one, batch))) != on_any_file_system(manifest_name(batch))


@given(st.sampled_from(TEMPLATES), ids, ids, labels, extensions)
def test_no_output_is_where_a_folder_or_a_sidecar_is(
    template: Template, one: str, other: str, given_labels: dict[str, str], extension: str
) -> None:
    """A name is never the folder of another, whatever the batches are called."""
    name = on_any_file_system(template.name(job(one, one), 0, extension, HASH, given_labels))
    for each in (template.name(job(other, other), 1, "png", "cd" * 32, given_labels), sidecar_name(job(other, other))):
        taken = on_any_file_system(each)
        assert not taken.startswith(name + "/")
        assert not name.startswith(taken + "/")
        assert taken != name


@given(ids)
def test_an_encoded_id_has_no_ending_of_another_file(job_id: str) -> None:
    encoded = encode_id(job_id, ENDINGS).casefold()
    assert not encoded.endswith(tuple(ENDINGS))


def test_readable_ids_stay_readable() -> None:
    cases = {
        "order-4711@shop": "order-4711@shop",
        "SKU-4711": "SKU-4711~u",
        "Sku": "Sku~x1",
        "a:b": "a~cb",
        "01JQX8Z": "01JQX8Z~u",
        "v1.2": "v1.2",
    }
    assert {given_id: encode_id(given_id, ENDINGS) for given_id in cases} == cases
    assert encode_text("  Rot & grün. ") == "Rot _ grün_"


def test_a_label_cannot_name_the_folder_of_another_producer() -> None:
    theirs = Template.parse("{batch}/{job}-{index}.{ext}").name(
        replace(job("fox@shop"), batch="spring@shop"), 1, "png", HASH, {}
    )
    ours = Template.parse("{label[sku]}/{job}-{index}.{ext}").name(
        job("fox@press"), 1, "png", HASH, {"sku": "spring@shop"}
    )
    assert theirs.split("/")[0] == "spring@shop"
    assert ours.split("/")[0] == "spring_shop"


def test_every_extension_is_an_ending() -> None:
    assert {f".{each.extension}" for each in ALL} | {".json", ".ndjson"} == ENDINGS


def test_a_later_job_with_the_same_id_has_another_key() -> None:
    template = Template.parse("{batch}/{key}-{index}.{ext}")
    assert len({template.name(job(later=later), 0, "png", HASH, {}) for later in range(5)}) == 5
