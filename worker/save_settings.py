"""The settings of saving results, which only workers need. worker.settings inherits them."""

from dataclasses import dataclass

from marshmallow import ValidationError, validate
from marshmallow import fields as ma

from jobs import settings as shared
from jobs.results.names import DEFAULT, Template, TemplateInvalid
from jobs.setting import setting

#: Bytes of the largest result that is saved: some minutes of video in high resolution.
MAX_SIZE = 2 * 1024**3
#: Bytes per second. A slower transfer ends, and is tried again.
MIN_RATE = 16 * 1024


def _template(value: str) -> None:
    try:
        Template.parse(value)
    except TemplateInvalid as error:
        raise ValidationError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class SaveSettings(shared.Settings):
    """How a worker saves results."""

    max_saving: int = setting(
        "BOOMERANG_MAX_SAVING",
        ma.Integer,
        32,
        "Jobs whose results are saved at once, over all workers; 1 to 512. They have threads of their own. A producer "
        "that is alone uses at most half.",
        validate=validate.Range(1, 512),
    )
    result_names: str = setting(
        "BOOMERANG_RESULT_NAMES",
        ma.String,
        DEFAULT,
        "The names of saved results, as a template. Results that are saved keep their names when it changes.",
        validate=_template,
    )
    result_max_size: int = setting(
        "BOOMERANG_RESULT_MAX_SIZE",
        ma.Integer,
        MAX_SIZE,
        "Most bytes of one result. A bigger one is not saved, and is on the list of unsaved results.",
        validate=validate.Range(min=1),
    )
    result_min_rate: int = setting(
        "BOOMERANG_RESULT_MIN_RATE",
        ma.Integer,
        MIN_RATE,
        "Least bytes per second of a transfer, on average. A slower one ends, and is tried again later.",
        validate=validate.Range(min=1),
    )
