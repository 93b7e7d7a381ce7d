"""The append-only list against a plain list."""

from hypothesis import given
from hypothesis import strategies as st

from engine.sim.sequence import CHUNK, Sequence

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3 * CHUNK)),
        st.tuples(st.just("truncate"), st.integers(0, 4 * CHUNK)),
        st.tuples(st.just("copy"), st.just(0)),
    ),
    max_size=12,
)


@given(STEPS)
def test_behaves_as_a_list_and_copies_share_nothing_that_changes(steps: list[tuple[str, int]]) -> None:
    mine: Sequence[int] = Sequence()
    model: list[int] = []
    copies: list[tuple[Sequence[int], list[int]]] = []
    for step, number in steps:
        if step == "append":
            for _ in range(number):
                mine.append(len(model))
                model.append(len(model))
        elif step == "truncate":
            mine.truncate(number)
            del model[number:]
        else:
            copies.append((mine.copy(), model.copy()))
    for sequence, expected in [*copies, (mine, model)]:
        assert list(sequence) == expected
        assert len(sequence) == len(expected)
        for start in (0, len(expected) // 2, len(expected)):
            assert list(sequence.iterate_from(start)) == expected[start:]
        if expected:
            assert sequence[-1] == expected[-1]
            assert sequence[len(expected) // 2] == expected[len(expected) // 2]
            assert sequence.bisect_right(expected[-1] // 2, lambda item: item) == expected[-1] // 2 + 1
