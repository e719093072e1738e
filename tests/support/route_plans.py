"""What a route does to each message of both sides, planned beforehand, and what the ends must then get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from hypothesis import strategies as st

from support.clients import Message
from wirewright import WebSocketRoute

Action = Literal["pass", "drop", "change", "before", "after", "back"]
ACTIONS: Sequence[Action] = ("pass", "drop", "change", "before", "after", "back")

WORDS = ("price", "order", "é", "EURUSD", "buy", "sell", "日本", "quantity", '{"id":', "1.08431", "\n", "🙂")
BACK = "back: "
"""With what a message begins that a route has answered in the other end's stead."""


@dataclass(frozen=True)
class Step:
    """One message of an end, and what becomes of it."""

    message: Message
    action: Action

    @property
    def meant(self) -> list[Message]:
        """What arrives at the other end."""
        forward: dict[Action, list[Message]] = {
            "pass": [self.message],
            "drop": [],
            "change": [changed(self.message)],
            "before": [added(self.message), self.message],
            "after": [self.message, added(self.message)],
            "back": [],
        }
        return forward[self.action]

    @property
    def answer(self) -> list[Message]:
        """What arrives at the end that it came from."""
        return [f"{BACK}{self.message!r}"] if self.action == "back" else []


def changed(message: Message) -> Message:
    return message[::-1] + "!" if isinstance(message, str) else message[::-1] + b"!"


def added(message: Message) -> Message:
    """Of the other kind."""
    return message.encode() if isinstance(message, str) else message.hex()


@dataclass(frozen=True)
class Plan:
    """What both ends say, and what becomes of it."""

    seed: int
    count: int
    """Messages of both ends together."""
    handles_app: bool
    handles_server: bool

    @property
    def app(self) -> list[Step]:
        return self._steps("app", self.handles_app)

    @property
    def server(self) -> list[Step]:
        return self._steps("server", self.handles_server)

    def _steps(self, end: str, is_handled: bool) -> list[Step]:
        random = Random(f"{self.seed} {end}")
        actions = ACTIONS if is_handled else ("pass",)
        return [Step(_message(random), random.choice(actions)) for _ in range(self.count // 2)]

    def handle(self, ws: WebSocketRoute) -> None:
        """The route's handler."""
        server = ws.connect_to_server()
        if self.handles_app:
            ws.on_message(_handler(self.app, ws, server))
        if self.handles_server:
            server.on_message(_handler(self.server, server, ws))


plans = st.builds(Plan, st.integers(0), st.integers(2, 600), st.booleans(), st.booleans())


def _handler(
    steps: Sequence[Step], source: WebSocketRoute, destination: WebSocketRoute
) -> Callable[[Message], None]:
    remaining = iter(steps)

    def handle(message: Message) -> None:
        step = next(remaining)
        assert message == step.message
        for each in step.meant:
            destination.send(each)
        for each in step.answer:
            source.send(each)

    return handle


def _message(random: Random) -> Message:
    most = random.choice((0, 3, 3, 3, 30, 30, 700))
    text = " ".join(random.choice(WORDS) for _ in range(random.randint(0, most)))
    if random.random() < 0.5:
        return text
    return random.randbytes(len(text)) if random.random() < 0.5 else text.encode("utf-16")


def expected(own: Sequence[Step], others: Sequence[Step]) -> tuple[list[Message], list[Message]]:
    """What an end has to get: of the other end's messages, and as answers to its own."""
    meant = [message for step in others for message in step.meant]
    return meant, [message for step in own for message in step.answer]


def received(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """What an end has got, in these two parts: between them there is no order."""
    parts: tuple[list[Message], list[Message]] = [], []
    for message in messages:
        parts[isinstance(message, str) and message.startswith(BACK)].append(message)
    return parts


def size(parts: tuple[list[Message], list[Message]]) -> int:
    return len(parts[0]) + len(parts[1])
