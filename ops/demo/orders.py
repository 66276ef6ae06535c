"""What is ordered: prompts of PartiPrompts and photographs, both models, every option that shows in a picture."""

import base64
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parents[1] / "assets"
REFERENCE2IMAGE, OMNI = "kirin_v2_1_reference2image", "kirin_image_omni"
#: how often each photograph is drawn: the light ones more often, as every one travels in full within its request
PHOTOGRAPHS = {
    "rocket.jpg": 6, "chelsea.png": 5, "horse.png": 5, "coffee.png": 2, "hubble_deep_field.jpg": 2, "astronaut.png": 1,
}  # fmt: skip
#: 102 × 102 pixels: refused before it costs anything
TOO_SMALL = "microaneurysms.png"
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")


@dataclass(frozen=True, slots=True)
class Order:
    """One job: the request as a producer sends it, and the names of the photographs in it."""

    id: str
    request: dict[str, Any]
    photographs: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """What is to be seen."""
        return str(self.request["prompt"])


def orders(run: str, count: int, seed: int) -> list[Order]:
    """The same `count` orders for the same seed, alternating between the models; ids begin with `run`."""
    chance = random.Random(seed)  # noqa: S311 - a choice of pictures
    lines = (ASSETS / "parti-prompts.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line) for line in chance.sample(lines, count)]
    make = (_reference2image, _omni)
    return [make[number % 2](f"{run}-{number + 1:03}", prompt, chance) for number, prompt in enumerate(prompts)]


def unacceptable(run: str) -> Order:
    """An order with a photograph that is too small."""
    request = {
        "model": REFERENCE2IMAGE,
        "prompt": "a retina as a landscape",
        "subject_image_list": [{"subject_image": _base64(TOO_SMALL)}],
        "external_task_id": f"{run}-refused",
    }
    return Order(f"{run}-refused", request, (TOO_SMALL,))


def lines(of: Iterable[Order]) -> Iterable[bytes]:
    """As NDJSON, one at a time: all photographs at once would be a lot of memory."""
    for order in of:
        yield json.dumps(order.request, ensure_ascii=False).encode() + b"\n"


def _reference2image(id_: str, prompt: dict[str, str], chance: random.Random) -> Order:
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
    return Order(id_, request, chosen)


def _omni(id_: str, prompt: dict[str, str], chance: random.Random) -> Order:
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
    return Order(id_, request, chosen)


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
