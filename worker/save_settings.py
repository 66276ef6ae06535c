"""The worker's settings for saving results."""

from dataclasses import dataclass

from marshmallow import ValidationError, validate
from marshmallow import fields as ma

from jobs import settings as shared
from jobs.results.names import DEFAULT, Template, TemplateInvalid
from jobs.setting import setting


def _template(value: str) -> None:
    try:
        Template.parse(value)
    except TemplateInvalid as error:
        raise ValidationError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class SaveSettings(shared.Settings):
    """How results are saved."""

    result_names: str = setting(
        "BOOMERANG_RESULT_NAMES",
        ma.String,
        DEFAULT,
        "The template of the names of saved results; see [names](saved-results.md#names).",
        validate=_template,
    )
    result_max_size: int = setting(
        "BOOMERANG_RESULT_MAX_SIZE",
        ma.Integer,
        256 * 1024 * 1024,
        "Most bytes of a result that is saved, at least 1,000. A larger one stays at the provider, and its job is on "
        "the list of unsaved results.",
        validate=validate.Range(1000),
    )
