"""Which hook points a run comes to: those between the layer where it starts and the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hookwire import errors
from hookwire.facts import selection
from hookwire.facts.catalogue import Catalogue


def start(start_at_layer: Any, n_layers: int) -> int | None:
    """`start_at_layer`, counted from 0; None: the run starts with its tokens.

    Raises:
        StopOutOfRangeError: no such layer.
        ArgumentTypeError: no int.
    """
    return _layer(start_at_layer, "start_at_layer", n_layers, n_layers - 1)


def stop(stop_at_layer: Any, n_layers: int) -> int | None:
    """`stop_at_layer`, counted from 0, up to `n_layers`; None: the run goes to the end.

    Raises:
        StopOutOfRangeError: no such layer.
        ArgumentTypeError: no int.
    """
    return _layer(stop_at_layer, "stop_at_layer", n_layers, n_layers)


def _layer(given: Any, what: str, n_layers: int, last: int) -> int | None:
    if given is None:
        return None
    layer = selection.integer(given, what, "an int or None")
    counted = layer + n_layers if layer < 0 else layer
    if not 0 <= counted <= last:
        raise errors.StopOutOfRangeError(f"{what}={layer} is outside the {n_layers} layers")
    return counted


@dataclass(frozen=True)
class Reach:
    """From where to where a run's own values go.

    Attributes:
        catalogue: gives the hook points, where they are needed.
        start: `start_at_layer`, counted from 0; None: the run starts with its tokens.
        stop: `stop_at_layer`, counted from 0; None: the run goes to the end.
        moment: at which captures are taken: "before" or "after" the changes at a hook point.
    """

    catalogue: Callable[[], Catalogue]
    start: int | None = None
    stop: int | None = None
    moment: str = "after"

    @property
    def is_limited(self) -> bool:
        """Whether there are hook points that the run does not come to."""
        return self.start is not None or self.stop is not None

    def has(self, name: str, *, captured: bool = False) -> bool:
        """Whether the run comes to the hook point with this canonical name.

        Args:
            name: of the hook point.
            captured: whether it is about reading it.
        """
        if self.stop is not None and name not in self.catalogue().before(self.stop):
            return False
        if self.start is None:
            return True
        if captured and self.moment == "before" and name == f"blocks.{self.start}.hook_in":
            # What is there before the run's own value is put in.
            return False
        return name in self.catalogue().since(self.start)

    def check(self, name: str, *, captured: bool = False) -> None:
        """Refuses a name that lies before the start. What lies behind the end the server refuses.

        Raises:
            NeverFiresError: the run does not come to it.
        """
        point = self.catalogue().get(name)
        since = Reach(self.catalogue, self.start, None, self.moment)
        if point is not None and not since.has(point.name, captured=captured):
            raise errors.NeverFiresError(
                f"{name} comes before the run starts: start_at_layer={self.start}"
                + (' and moment="before"' if point.layer == self.start else ""),
                metadata={"hook": point.name, "start_at_layer": str(self.start)},
            )

    def kept(
        self, names: Iterable[str], what: str, *, captured: bool = False
    ) -> dict[str, list[str]]:
        """Of what a glob or a function has matched, what the run comes to.

        Args:
            names: names and aliases that were matched.
            what: the glob or the function, for the message.
            captured: whether it is about reading them.

        Returns:
            The names, by canonical name.

        Raises:
            NeverFiresError: nothing.
        """
        points = self.catalogue().by_name()
        found: dict[str, list[str]] = {}
        first = None
        for name in names:
            first = first or name
            if self.has(points[name].name, captured=captured):
                found.setdefault(points[name].name, []).append(name)
        if not found:
            limits = {"start_at_layer": self.start, "stop_at_layer": self.stop}
            said = {key: str(value) for key, value in limits.items() if value is not None}
            raise errors.NeverFiresError(
                f"{what} matches only hook points that the run does not reach, with "
                f"{' and '.join(f'{key}={value}' for key, value in said.items())}: such as {first}",
                metadata={"hook": str(first), **said},
            )
        return found
