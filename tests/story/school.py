"""Trainings over the tools, one lesson after another, and what their logs say of what was learned."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.story.agent import Agent, Answers
from tests.story.lessons import ADAPTER_ROWS, JUDGE, LESSONS, MAKERS, TAUGHT, TEACHER, TINY, write_rows
from tests.story.test_pipelines import figures


@dataclass(frozen=True)
class Outcome:
    """What came of a lesson: the metric at the beginning and at the end, and how long the job ran, in seconds."""

    method: str
    tuning: str
    metric: str
    first: float
    last: float
    seconds: int
    learned: bool
    job_id: str


@dataclass
class School:
    """Teaches by an agent; the models that lessons need are made once, by jobs of their own."""

    agent: Agent
    tiny_model: str
    folder: Path
    made: dict[str, str] = field(default_factory=dict[str, str])

    async def teach(self, method: str, tuning: str) -> Outcome:
        """Train by a method's lesson to the end and return what came of it."""
        lesson = LESSONS[method]
        asked = await self._with_models(lesson.asked(tuning))
        base = lesson.base if tuning == "full" else TAUGHT
        rows = lesson.rows if tuning == "full" else ADAPTER_ROWS.get(method, lesson.rows)
        data = write_rows(self.folder / f"{method}-{tuning}.jsonl", rows())
        status = await self._train(method=method, model=await self.model(base), dataset=data, **asked)
        course = await figures(self.agent, status["job_id"], lesson.metric)
        assert len(course) >= 2 * lesson.window, f"the log of {method} tells {lesson.metric} {len(course)} times"
        first = sum(course[: lesson.window]) / lesson.window
        last = sum(course[-lesson.window :]) / lesson.window
        learned = lesson.enough(first, last)
        return Outcome(method, tuning, lesson.metric, first, last, status["running_s"], learned, status["job_id"])

    async def model(self, name: str) -> str:
        """Return the folder of the random model, or the id of the job that makes the model of this name."""
        if name == TINY:
            return self.tiny_model
        if name not in self.made:
            method, rows, steps = MAKERS[name]
            lesson = LESSONS[method]
            asked = lesson.asked("full")
            asked["trainer_args"] |= {"max_steps": steps}
            data = write_rows(self.folder / f"{name.replace(' ', '-')}.jsonl", rows())
            base = await self.model(TINY if method == "sft" else TAUGHT)
            self.made[name] = (await self._train(method=method, model=base, dataset=data, **asked))["job_id"]
        return self.made[name]

    async def _with_models(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return arguments with job ids in the place of the names of models."""
        settings = dict(asked["trainer_args"])
        if "teacher_model" in settings:
            settings["teacher_model"] = await self.model(TEACHER)
        rewards = [await self.model(JUDGE) if name == JUDGE else name for name in asked.get("rewards", ())]
        return asked | {"trainer_args": settings} | ({"rewards": rewards} if rewards else {})

    async def _train(self, **asked: Any) -> Answers:
        started = await self.agent.call("submit_training", **asked)
        assert "job_id" in started, started
        status = await self.agent.follow(started["job_id"], 600)
        assert status["stage"] == "COMPLETED", status
        return status
