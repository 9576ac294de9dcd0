"""The name grammar: every form that users write, every form that is refused, and that printing inverts parsing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegaproto.errors import BadName, UnknownColumn
from omegaproto.names import MAX_NAME_LENGTH, ColumnItem, Columns, NameRef, check_path, parse_name

SEGMENT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="[]@^#{}/"), min_size=1, max_size=12
).filter(lambda text: text not in {".", ".."})
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
COLUMN = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs"), exclude_characters="[]^#,:@{}"), min_size=1, max_size=8
).filter(lambda text: text == text.strip())
ITEMS = st.one_of(
    COLUMN.map(lambda name: ColumnItem(start=name)),
    st.builds(lambda a, b: ColumnItem(start=a, stop=b, is_slice=True), st.none() | COLUMN, st.none() | COLUMN),
)
COLUMNS = st.builds(
    lambda items, ex: Columns(items=tuple(items), exclude=ex), st.lists(ITEMS, min_size=1), st.booleans()
)
TAG = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,10}", fullmatch=True)
ARGS = st.lists(st.tuples(TAG, TAG), max_size=3).map(tuple)


@st.composite
def references(draw: st.DrawFn) -> NameRef:
    version = draw(st.none() | TAG)
    op = draw(st.none() | TAG | st.just(""))
    return NameRef(
        path=draw(PATHS),
        columns=draw(st.none() | COLUMNS),
        version=version,
        back=0 if version else draw(st.integers(0, 3)),
        op=op,
        op_args=draw(ARGS) if op else (),
    )


@given(references())
def test_parsing_inverts_printing(reference: NameRef) -> None:
    assert parse_name(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_and_never_crashes(text: str) -> None:
    try:
        reference = parse_name(text)
    except BadName as error:
        assert error.action
    else:
        assert parse_name(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "path", "version", "back", "op"),
    [
        ("sales", "sales", None, 0, None),
        ("a/b/c", "a/b/c", None, 0, None),
        ("m@prod", "m", "prod", 0, None),
        ("m^^", "m", None, 2, None),
        ("m#testing", "m", None, 0, "testing"),
        ("d#", "d", None, 0, ""),
        ("d#rows:start=1,end=10", "d", None, 0, "rows"),
        (".hidden", ".hidden", None, 0, None),
        ("_temp1", "_temp1", None, 0, None),
    ],
)
def test_forms_that_users_write(text: str, path: str, version: str | None, back: int, op: str | None) -> None:
    reference = parse_name(text)
    assert (reference.path, reference.version, reference.back, reference.op) == (path, version, back, op)
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "a//b", "/a", "a/", "a/../b", ".", "..", "a[", "a[]", "a[x", "a]", "a@", "a@x@y", "a^@x", "a{b=1}", "a\nb",
     "a#op:novalue", "a[x,,y]", "x" * (MAX_NAME_LENGTH + 1), "x" * (5 * MAX_NAME_LENGTH), "a\x00", "a\ud800"],
)  # fmt: skip
def test_names_that_are_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_name(text)


def test_a_name_is_text() -> None:
    with pytest.raises(BadName, match="text, not int"):
        parse_name(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("b", ["b"]), ("c,a", ["c", "a"]), ("b:c", ["b", "c"]), (":b", ["a", "b"]), ("c:", ["c", "d"]),
        (":", ["a", "b", "c", "d"]), ("^b", ["a", "c", "d"]), ("^a,d", ["b", "c"]), ("^b:c", ["a", "d"]),
        ("a,a", ["a"]),
    ],
)  # fmt: skip
def test_columns_resolve_against_a_frame(expression: str, chosen: list[str]) -> None:
    columns = parse_name(f"d[{expression}]").columns
    assert columns is not None
    assert columns.resolve(["a", "b", "c", "d"]) == chosen


def test_an_unknown_column_is_named_with_those_that_exist() -> None:
    columns = parse_name("d[x]").columns
    assert columns is not None
    with pytest.raises(UnknownColumn, match="'x'") as caught:
        columns.resolve(["a", "b"])
    assert "a, b" in str(caught.value)


@given(st.lists(COLUMN, min_size=1, max_size=8, unique=True), st.data())
def test_exclusion_is_the_complement(available: list[str], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(available), min_size=1, max_size=8))
    items = tuple(ColumnItem(start=name) for name in names)
    chosen = Columns(items=items).resolve(available)
    rest = Columns(items=items, exclude=True).resolve(available)
    assert sorted(chosen + rest) == sorted(available)


def test_check_path_gives_the_path_back() -> None:
    assert check_path("a/b") == "a/b"
    assert parse_name("a/.b").is_hidden
    assert not parse_name("a/b").is_hidden
