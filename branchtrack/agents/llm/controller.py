"""A language model as what decides in an agent: asked now and then, every exchange recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, ValidationError

from branchtrack.agents.execution import Outcome, actor_of
from branchtrack.agents.llm import holding, prompt, questions
from branchtrack.agents.llm.endpoint import Endpoint
from branchtrack.agents.llm.questions import Answer
from branchtrack.core.agents.budgets import Spent
from branchtrack.core.agents.decisions import Decision
from branchtrack.core.agents.policies.policy import Options
from branchtrack.core.agents.records import Agent
from branchtrack.core.agents.views import View
from branchtrack.core.records import Branch, Request
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents, exchanges
from branchtrack.errors import InvalidInput

#: Seconds before another question after the first failure, twice as many after each one more, and
#: at most; an endpoint can ask for more, up to an hour.
_FIRST_PAUSE, _MOST_DOUBLED, _LONGEST_PAUSE = 5.0, 300.0, 3600.0


class ModelOptions(Options):
    """``every``: updates between two questions. ``wait``: hold the training meanwhile.

    ``price_in`` and ``price_out`` are US dollars for a million tokens.
    """

    base_url: str
    model: str = Field(min_length=1, max_length=200)
    goal: str = "Reach the lowest loss on held-out data by the end of the training."
    every: int = Field(100, ge=1)
    timeout: float = Field(60.0, gt=0, le=3600)
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int = Field(2000, ge=1)
    price_in: float = Field(0.0, ge=0, allow_inf_nan=False)
    price_out: float = Field(0.0, ge=0, allow_inf_nan=False)
    wait: bool = False


class ModelController:
    """Asks a model about a view, and returns what it decides."""

    every_branch = False
    metrics: tuple[str, ...] = ()

    def __init__(
        self, options: ModelOptions, database: Database, say: Callable[[str], None] | None = None
    ) -> None:
        self._options, self._database = options, database
        self._say = say or (lambda _words: None)
        self._endpoint = Endpoint(options.base_url, options.model, options.timeout)
        self._exchange_id: str | None = None
        self._pause: Request | None = None
        self._agent: Agent | None = None

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        database: Database,
        say: Callable[[str], None] | None = None,
    ) -> ModelController:
        """Return it with options from values by name; ``say`` gets a line for each bad answer.

        Raises:
            InvalidInput: an option is missing, unknown, or cannot have its value.
        """
        try:
            return cls(ModelOptions.model_validate(dict(values)), database, say)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            known = name in ModelOptions.model_fields
            allowed = str(first["msg"]) if known else ", ".join(ModelOptions.model_fields)
            raise InvalidInput(f"option.{name}", values.get(name), allowed) from error

    @property
    def stored_options(self) -> dict[str, Any]:
        """The options in force; a key is none of them."""
        return self._options.model_dump()

    def take(self, agent: Agent) -> None:
        """Work for an agent from now on."""
        self._agent = agent

    def decide(self, view: View, memory: dict[str, Any]) -> list[Decision]:
        """Return the model's decision if it is time to ask, and it made one."""
        assert self._agent is not None
        # After a rollback the training is at an earlier step than when the model was last asked.
        last = min(memory.get("asked_at", view.step - self._options.every), view.step)
        is_due = view.step >= last + self._options.every and view.is_live
        if not is_due or not self._may_ask(memory):
            memory["asked_at"] = last
            return []
        memory["asked_at"] = view.step
        self._hold(view)
        try:
            answer = self._exchange(view)
            self._take_note(view, answer, memory)
            return [] if answer.decision is None else [answer.decision]
        except BaseException:
            self._release(view)
            raise

    def settle(self, agent: Agent, branch: Branch, view: View, outcomes: list[Outcome]) -> None:
        """Record what came of the answer, and let a training go on that was held for it."""
        self._agent = agent
        if self._exchange_id is not None and outcomes:
            (outcome,) = outcomes
            with self._database.transaction() as connection:
                exchanges.settle(
                    connection,
                    self._exchange_id,
                    actor=actor_of(agent).label,
                    outcome=outcome.kind,
                    error=outcome.error,
                    request_id=outcome.request_id,
                    launch_id=outcome.launch_id,
                )
        self._exchange_id = None
        self._release(view)

    def _may_ask(self, memory: dict[str, Any]) -> bool:
        """Return whether the pause after a failure is over; a clock set back ends it too."""
        left = memory.get("ask_again_at", 0.0) - time.time()
        return not 0.0 < left <= _LONGEST_PAUSE

    def _take_note(self, view: View, answer: Answer, memory: dict[str, Any]) -> None:
        """Say why there is no decision, and when to ask again after a failure."""
        words = f"step {view.step}: {answer.outcome}: {answer.error}"
        if answer.outcome == "failed":
            failures = memory["failures"] = memory.get("failures", 0) + 1
            pause = max(pause_after(failures), answer.retry_after or 0.0)
            memory["ask_again_at"] = time.time() + pause
            words += f" It is asked again after {pause:g} seconds."
        else:
            memory.pop("failures", None)
            memory.pop("ask_again_at", None)
        if answer.decision is None:
            self._say(words)

    def _exchange(self, view: View) -> Answer:
        """Ask about a view, and return what came of it."""
        assert self._agent is not None
        options = self._options
        extra = {} if options.temperature is None else {"temperature": options.temperature}
        messages = prompt.messages(self._agent, view, options.goal)
        began = time.monotonic()
        answer = questions.ask(self._endpoint, messages, max_tokens=options.max_tokens, **extra)
        seconds = time.monotonic() - began
        self._exchange_id = self._record(view, answer, prompt=messages, seconds=seconds)
        return answer

    def _record(self, view: View, answer: Answer, **facts: Any) -> str:
        agent, options = self._agent, self._options
        assert agent is not None
        cost = (answer.tokens_in * options.price_in + answer.tokens_out * options.price_out) / 1e6
        with self._database.transaction() as connection:
            branch = runs.find_branch(connection, _ref(view))
            spent = Spent.read(agents.get(connection, agent.id).spent)
            spent = spent.asked(answer.tokens_in + answer.tokens_out, cost)
            agents.beat(connection, agent.id, spent=spent.as_dict())
            exchange = exchanges.add(
                connection,
                agent,
                branch.id,
                step=view.step,
                model=options.model,
                answer=answer.text,
                outcome=answer.outcome,
                error=answer.error,
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                cost=cost if options.price_in or options.price_out else None,
                **facts,
            )
        return exchange.id

    def _hold(self, view: View) -> None:
        if self._agent is None or self._agent.mode == "observe":
            return
        if self._options.wait and view.status == "running":
            seconds = self._options.timeout
            self._pause = holding.pause(self._database, self._agent, _ref(view), seconds)

    def _release(self, view: View) -> None:
        """Let a training go on that is held for a question."""
        pause, self._pause = self._pause, None
        if self._agent is not None and pause is not None:
            seconds = self._options.timeout
            holding.unpause(self._database, self._agent, _ref(view), pause, seconds)


def _ref(view: View) -> str:
    return f"{view.run}/{view.branch}"


def pause_after(failures: int) -> float:
    """Return the seconds before another question, after so many failures in a row."""
    return min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 30), _MOST_DOUBLED)
