"""The jobs of the demo: prompts of PartiPrompts, photographs, both models, and every option that changes an image."""

import base64
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parents[1] / "assets"
REFERENCE2IMAGE, OMNI = "kirin_v2_1_reference2image", "kirin_image_omni"
#: photograph -> weight. Small files are used more often, because each request contains its photographs.
PHOTOGRAPHS = {
    "rocket.jpg": 6, "chelsea.png": 5, "horse.png": 5, "coffee.png": 2, "hubble_deep_field.jpg": 2, "astronaut.png": 1,
}  # fmt: skip
#: 102 × 102 pixels: the service rejects it before it costs anything.
TOO_SMALL = "microaneurysms.png"
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job: its request, and the file names of the photographs in it."""

    id: str
    request: dict[str, Any]
    photographs: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The prompt of the request."""
        return str(self.request["prompt"])


def make_jobs(run: str, count: int, seed: int) -> list[DemoJob]:
    """Make `count` jobs that alternate between the models; the same for the same seed. Ids begin with `run`."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    lines = (ASSETS / "parti-prompts.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line) for line in chance.sample(lines, count)]
    make = (_reference2image, _omni)
    return [make[number % 2](f"{run}-{number + 1:03}", prompt, chance) for number, prompt in enumerate(prompts)]


def make_rejected_job(run: str) -> DemoJob:
    """Make a job that the service rejects, because its photograph is too small."""
    request = {
        "model": REFERENCE2IMAGE,
        "prompt": "a retina as a landscape",
        "subject_image_list": [{"subject_image": _base64(TOO_SMALL)}],
        "external_task_id": f"{run}-rejected",
    }
    return DemoJob(f"{run}-rejected", request, (TOO_SMALL,))


def to_ndjson(jobs: Iterable[DemoJob]) -> Iterable[bytes]:
    """Yield the requests as lines of NDJSON, one at a time to save memory: they contain the photographs."""
    for job in jobs:
        yield json.dumps(job.request, ensure_ascii=False).encode() + b"\n"


def _reference2image(id_: str, prompt: dict[str, str], chance: random.Random) -> DemoJob:
    chosen = _choose(chance, chance.choices((1, 2, 3, 4), (8, 4, 2, 1))[0])
    request = {
        "model": REFERENCE2IMAGE,
        "prompt": prompt["prompt"],
        "subject_image_list": [{"subject_image": _base64(name)} for name in chosen],
        "aspect_ratio": chance.choice(RATIOS),
        "n": chance.choices((1, 2), (3, 1))[0],
        "watermark_info": {"enabled": chance.random() < 0.1},  # noqa: PLR2004
        "external_task_id": id_,
        "labels": _labels(prompt),
    }
    return DemoJob(id_, request, chosen)


def _omni(id_: str, prompt: dict[str, str], chance: random.Random) -> DemoJob:
    text = prompt["prompt"]
    chosen: tuple[str, ...] = ()
    request: dict[str, Any] = {"model": OMNI}
    if chance.random() < 0.5:  # noqa: PLR2004
        chosen = _choose(chance, 1)
        text = f"{text}, in the colours of <<<image_1>>>"
        request["image_list"] = [{"image": _base64(name)} for name in chosen]
    request |= {
        "prompt": text,
        "aspect_ratio": chance.choice((*RATIOS, "auto")),
        "resolution": chance.choices(("1k", "2k"), (9, 1))[0],
        "n": chance.choices((1, 2), (3, 1))[0],
        "external_task_id": id_,
        "labels": _labels(prompt),
    }
    return DemoJob(id_, request, chosen)


def _choose(chance: random.Random, number: int) -> tuple[str, ...]:
    left = dict(PHOTOGRAPHS)
    chosen = []
    for _ in range(number):
        (name,) = chance.choices(list(left), list(left.values()))
        del left[name]
        chosen.append(name)
    return tuple(chosen)


def _labels(prompt: dict[str, str]) -> dict[str, str]:
    return {"category": prompt["category"], "challenge": prompt["challenge"]}


def _base64(name: str) -> str:
    return base64.b64encode((ASSETS / "images" / name).read_bytes()).decode("ascii")
