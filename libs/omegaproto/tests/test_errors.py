"""The error tree: codes are unique, every error travels as data and comes out as its own type."""

import pickle

import pytest

from omegaproto import errors
from omegaproto.errors import ErrorInfo, OmegaError, error_from, error_types

TREE = sorted(error_types().values(), key=lambda cls: cls.code)


def all_classes() -> list[type[OmegaError]]:
    return [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, OmegaError)]


def test_every_class_has_a_code_of_its_own() -> None:
    assert len(TREE) == len(all_classes())


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.code)
def test_an_error_travels_and_comes_out_as_its_type(cls: type[OmegaError]) -> None:
    error = cls("It broke.", action="Mend it.", limit=3)
    info = ErrorInfo.model_validate_json(error.info().model_dump_json())
    again = error_from(info)
    assert type(again) is cls
    assert str(again) == "It broke. Mend it."
    assert again.details == {"limit": 3}
    assert 400 <= cls.status < 600


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.code)
def test_the_tree_in_the_docstring_names_it(cls: type[OmegaError]) -> None:
    line = next(line for line in str(errors.__doc__).splitlines() if f" {cls.__name__} " in f" {line.strip('│├└─ ')} ")
    assert line.split()[-2:] == [cls.code, str(cls.status)]


def test_a_code_of_a_later_version_is_still_an_error() -> None:
    error = error_from(ErrorInfo(code="of_tomorrow", status=418, message="New."))
    assert type(error) is OmegaError


def test_an_error_survives_being_copied_between_processes() -> None:
    error = errors.NotFitted("Not fitted.", action="Fit it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is errors.NotFitted
    assert again.info() == error.info()
