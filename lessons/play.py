"""Playing lessons without a browser: predictions computed, twins compared, accidents repeated with many seeds, solutions tried.

``play`` is the judge of a lesson: each goal must be false before its solution and true after it, each guard must hold throughout the
solution and break under the supplied wrong one, each prediction must come out as its author says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from engine.check.ledger import FATES
from engine.errors import EngineError
from lessons.condition import Counted
from lessons.errors import LessonError, PlayError
from lessons.goals import GoalState, sentence
from lessons.model import HistogramBlock, Items, Lesson, PredictBlock, Side, Step, TwinBlock, WrongBlock
from lessons.run import ItemError, Run

Value = int | bool | str


class PredictionResult(msgspec.Struct, frozen=True):
    """``value``: the right answer (a number, a truth value, or the text of an option); ``text``: what the engine found, in a sentence;
    ``evidence``: what happened, as narrated lines."""

    value: Value
    text: str
    evidence: tuple[str, ...]


class Measurement(msgspec.Struct, frozen=True):
    value: int | None
    text: str


class TwinSide(msgspec.Struct, frozen=True):
    """How one twin fared: its records by fate, what was measured, and what happened."""

    label: str
    ledger: dict[str, int]
    measured: tuple[Measurement, ...]
    evidence: tuple[str, ...]


class TwinResult(msgspec.Struct, frozen=True):
    setting: str
    left: TwinSide
    right: TwinSide


class HistogramPoint(msgspec.Struct, frozen=True):
    """One seed; ``values`` in the order of the block's sides."""

    seed: int
    values: tuple[int, ...]


class Score(msgspec.Struct):
    """What a played lesson contained."""

    steps: int = 0
    goals: int = 0
    guards: int = 0
    predictions: int = 0
    twins: int = 0
    histograms: int = 0


# -- where a step begins -------------------------------------------------------------------------------------------------------------


def start_of(lesson: Lesson, step_index: int) -> Run:
    """The lab as it stands when the step begins: all earlier solutions carried out. What "reset this step" goes back to.

    Raises PlayError where an earlier solution does not play."""
    run = Run.begin(lesson)
    for step in lesson.steps[:step_index]:
        run.begin_step()
        if step.solution is not None:
            _do(run, step.solution.items, step.solution.line)
    run.begin_step()
    return run


def _do(run: Run, items: Items, line: int, seed: int | None = None) -> None:
    try:
        run.do(items, seed)
    except ItemError as wrong:
        raise PlayError(line, wrong.message, wrong.cure) from None


# -- predictions ---------------------------------------------------------------------------------------------------------------------


def compute_prediction(lesson: Lesson, step_index: int, prediction_id: str) -> PredictionResult:
    """Runs the experiment from the step's start. Raises KeyError for an id that the step does not have, PlayError where nothing comes
    out."""
    block = next((block for block in lesson.steps[step_index].predictions if block.id == prediction_id), None)
    if block is None:
        raise KeyError(prediction_id)
    return predict_from(start_of(lesson, step_index), block)


def predict_from(start: Run, block: PredictBlock) -> PredictionResult:
    """The answer, from a copy of ``start``. Raises PlayError."""
    run = start.fork()
    first_event = run.lab.kernel.next_event_id - 1
    _do(run, block.experiment, block.line)
    value, text = _choose(run, block) if block.answer == "choice" else _measure(run, block)
    return PredictionResult(value, sentence(text), run.evidence(first_event))


def _choose(run: Run, block: PredictBlock) -> tuple[Value, str]:
    scene = run.scene()
    looks = [(option.text, option.when.look(scene)) for option in block.options]
    right = [(text, found) for text, found in looks if found.ok]
    if len(right) != 1:
        how = "None" if not right else f"{len(right)}"
        raise PlayError(
            block.line,
            f"{how} of the options of {block.id!r} came true: {'; '.join(found.text for _, found in looks)}.",
            "Let exactly one `when` hold after the experiment.",
        )
    return right[0][0], right[0][1].text


def _measure(run: Run, block: PredictBlock) -> tuple[Value, str]:
    scene = run.scene()
    assert block.measure is not None
    if block.answer == "bool":
        found = block.measure.look(scene)
        return found.ok, found.text
    assert isinstance(block.measure, Counted)
    number = block.measure.count(scene)
    if number is None:
        raise PlayError(
            block.line,
            f"Nothing can be measured for {block.id!r}: {block.measure.say(None)}.",
            "Let the experiment bring it about.",
        )
    return number, block.measure.say(number)


def is_right(block: PredictBlock, answer: Value, result: PredictionResult) -> bool:
    """Whether a learner's answer counts as right."""
    if block.answer == "number" and isinstance(answer, int) and isinstance(result.value, int):
        return abs(answer - result.value) <= block.tolerance
    return type(answer) is type(result.value) and answer == result.value


# -- twins and many seeds --------------------------------------------------------------------------------------------------------------


def compute_twin(lesson: Lesson, step_index: int, number: int = 0) -> TwinResult:
    """The ``number``-th twin of a step. Raises IndexError where there is none, PlayError where it does not play."""
    return twin_from(start_of(lesson, step_index), lesson.steps[step_index].twins[number])


def twin_from(start: Run, block: TwinBlock) -> TwinResult:
    """Both futures of a copy of ``start``. Raises PlayError."""
    left, right = (_live(start, block, side) for side in (block.left, block.right))
    return TwinResult(block.setting, left, right)


def _live(start: Run, block: TwinBlock, side: Side) -> TwinSide:
    run = start.fork()
    run.begin_step()
    first_event = run.lab.kernel.next_event_id - 1
    _do(run, (*side.items, *block.items), block.line)
    scene = run.scene()
    totals = dict.fromkeys(FATES, 0)
    for row in scene.rows(block.scope):
        totals[row.fate] += 1
    measured = tuple(Measurement(number := what.count(scene), sentence(what.say(number))) for what in block.compare)
    return TwinSide(side.label, totals, measured, run.evidence(first_event))


def histogram(lesson: Lesson, seeds: Iterable[int], block: HistogramBlock | None = None) -> Iterator[HistogramPoint]:
    """One point per seed, as each is done; ``block`` defaults to the lesson's first. Raises LookupError where there is none, PlayError
    where it does not play."""
    wanted = block or next(block for step in lesson.steps for block in step.histograms)
    for seed in seeds:
        yield histogram_point(lesson, wanted, seed)


def histogram_point(lesson: Lesson, block: HistogramBlock, seed: int) -> HistogramPoint:
    """A fresh cluster of this seed, and for each side a copy of it that meets the accident. Fit for a process pool."""
    start = Run.begin(lesson, seed)
    values = []
    for side in block.sides:
        run = start.fork()
        run.begin_step()
        _do(run, (*side.items, *block.items), block.line, seed)
        number = block.measure.count(run.scene())
        values.append(0 if number is None else number)
    return HistogramPoint(seed, tuple(values))


# -- the whole lesson ------------------------------------------------------------------------------------------------------------------


class LessonRun:
    """A lesson as a learner goes through it, step by step, with nobody watching."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self.index = 0
        self.run = Run.begin(lesson)

    @property
    def step(self) -> Step:
        return self.lesson.steps[self.index]

    def run_do(self, items: Items) -> list[GoalState]:
        """Carries out the items of a block; returns how the step's goals stand then. Raises PlayError."""
        _do(self.run, items, self.step.line)
        return self.goal_states()

    def goal_states(self) -> list[GoalState]:
        return self.run.goal_states(self.step)

    def predict(self, block: PredictBlock) -> PredictionResult:
        return predict_from(self.run, block)

    def twin(self, block: TwinBlock) -> TwinResult:
        return twin_from(self.run, block)

    def solve(self) -> list[GoalState]:
        """Carries out the step's solution, if it has one, with an eye on the guards. Raises PlayError."""
        solution = self.step.solution
        if solution is not None:
            broken = _watched(self.run, self.step, solution.items, solution.line)
            if broken:
                state = next(iter(broken.values()))
                raise PlayError(
                    solution.line, f"The solution breaks the guard {state.name!r}: {state.text}", "Mend the solution or the guard."
                )
        return self.goal_states()

    def next_step(self) -> None:
        self.index += 1
        self.run.begin_step()


def _watched(run: Run, step: Step, items: Items, line: int) -> dict[str, GoalState]:
    """Carries ``items`` out; returns the guards that broke on the way, each as it first did."""
    guards = Step(step.title, tuple(goal for goal in step.goals if goal.kind == "guard"), step.line)
    broken: dict[str, GoalState] = {}

    def watch() -> None:
        for state in run.goal_states(guards):
            if not state.ok:
                broken.setdefault(state.name, state)

    try:
        run.do(items, watch=watch if guards.goals else None)
    except ItemError as wrong:
        raise PlayError(line, wrong.message, wrong.cure) from None
    if guards.goals:
        watch()
    return broken


def play(lesson: Lesson, score: Score | None = None) -> list[LessonError]:
    """Plays a lesson to its end; what is wrong with it, empty where all is well."""
    errors: list[LessonError] = []
    score = score if score is not None else Score()

    def wrong(line: int, message: str, cure: str) -> None:
        errors.append(LessonError(lesson.file, line, message, cure))

    try:
        learner = LessonRun(lesson)
        for index, step in enumerate(lesson.steps):
            if index:
                learner.next_step()
            for error in _play_step(learner, step, score):
                wrong(error.line, error.message, error.cure)
    except PlayError as error:
        wrong(error.line, error.message, error.cure)
    except EngineError as error:
        wrong(1, f"The cluster does not start: {error.message}", "Correct `cluster:` in the front matter.")
    return errors


def _play_step(learner: LessonRun, step: Step, score: Score) -> Iterator[PlayError]:
    """What is wrong with a step. Raises PlayError where the lesson cannot go on."""
    score.steps += 1
    lines = {goal.name: goal.line for goal in step.goals}
    for state in learner.goal_states():
        if state.ok and state.kind == "goal":
            yield PlayError(
                lines[state.name], f"The goal {state.name!r} is reached before anything is done: {state.text}", "Ask for more."
            )
        if not state.ok and state.kind == "guard":
            yield PlayError(
                lines[state.name], f"The guard {state.name!r} is broken from the start: {state.text}", "Guard what holds at first."
            )
    yield from _play_experiments(learner, step, score)
    for block in step.wrongs:
        yield from _play_wrong(learner, step, block)
    for state in learner.solve():
        score.goals += state.kind == "goal"
        score.guards += state.kind == "guard"
        if not state.ok:
            yield PlayError(
                lines[state.name], f"The solution does not reach {state.name!r}: {state.text}", "Mend the solution or the goal."
            )


def _play_experiments(learner: LessonRun, step: Step, score: Score) -> Iterator[PlayError]:
    yield from _play_buttons(learner, step)
    for predict in step.predictions:
        score.predictions += 1
        try:
            result = learner.predict(predict)
        except PlayError as wrong:
            yield wrong
            continue
        if predict.expected is not None and not is_right(predict, predict.expected, result):
            yield PlayError(
                predict.line,
                f"{predict.id!r} comes out as {result.value!r}, not {predict.expected!r}: {result.text}",
                "Correct `expected` or the experiment.",
            )
    for twin in step.twins:
        score.twins += 1
        try:
            both = learner.twin(twin)
        except PlayError as wrong:
            yield wrong
            continue
        if both.left.ledger == both.right.ledger and both.left.measured == both.right.measured:
            yield PlayError(
                twin.line, f"The twins fare alike: {twin.setting} makes no difference here.", "Let them meet what tells them apart."
            )
    for many in step.histograms:
        score.histograms += 1
        try:
            points = list(histogram(learner.lesson, range(1, many.headless_seeds + 1), many))
        except PlayError as wrong:
            yield wrong
            continue
        if len({point.values for point in points}) == 1 and len(set(points[0].values)) == 1:
            yield PlayError(
                many.line, "All runs of the histogram come out the same.", "Let the accident depend on the seed (spread_ms)."
            )


def _play_buttons(learner: LessonRun, step: Step) -> Iterator[PlayError]:
    """Each button must work, after the ones above it or by itself."""
    run = learner.run.fork()
    for block in step.dos:
        before = run.fork()
        try:
            run.do(block.items)
        except ItemError as wrong:
            run = before
            try:
                learner.run.fork().do(block.items)
            except ItemError:
                yield PlayError(block.line, wrong.message, wrong.cure)


def _play_wrong(learner: LessonRun, step: Step, block: WrongBlock) -> Iterator[PlayError]:
    try:
        broken = _watched(learner.run.fork(), step, block.items, block.line)
    except PlayError as wrong:
        yield wrong
        return
    if block.breaks not in broken:
        yield PlayError(
            block.line, f"The wrong solution does not break the guard {block.breaks!r}.", "Let it do what the guard forbids."
        )
