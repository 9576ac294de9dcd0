"""`no_leaks` fails a test that leaves a task running, and only that."""

import asyncio

import pytest

from omegakit.testing.leaks import describe, tasks_left_since

pytest_plugins = ["pytester"]


async def never_ending(started: asyncio.Event) -> None:
    started.set()
    await asyncio.Event().wait()


@pytest.fixture
async def forgotten_task():
    started = asyncio.Event()
    task = asyncio.create_task(never_ending(started), name="forgotten")
    await started.wait()
    yield task
    task.cancel()


async def test_a_running_task_is_left_and_named_with_its_place(forgotten_task: asyncio.Task[None]) -> None:
    left = await tasks_left_since(frozenset())
    assert forgotten_task in left
    assert "forgotten in never_ending at " in describe({forgotten_task})
    assert "test_leaks.py" in describe({forgotten_task})


async def test_a_task_that_was_there_before_is_no_leak(forgotten_task: asyncio.Task[None]) -> None:
    assert not await tasks_left_since(asyncio.all_tasks())


async def test_a_task_about_to_end_is_no_leak() -> None:
    before = asyncio.all_tasks()
    ending = asyncio.create_task(asyncio.sleep(0.05))
    assert not await tasks_left_since(before)
    assert ending.done()


async def test_a_task_not_yet_begun_is_described() -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="fresh")
    assert describe({task}).startswith("fresh in Event.wait at ")
    task.cancel()


def test_the_fixture_fails_a_leaking_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["omegakit.testing.plugin"]')
    pytester.makepyfile(
        """
        import asyncio
        import pytest

        pytestmark = pytest.mark.usefixtures("no_leaks")
        kept = []

        async def test_clean():
            await asyncio.create_task(asyncio.sleep(0))

        async def test_leaking():
            kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))

        def test_without_a_loop():
            pass
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    outcome.assert_outcomes(passed=3, errors=1)
    outcome.stdout.fnmatch_lines(["*the test left 1 asyncio tasks running:*", "*forgotten in Event.wait at *"])
