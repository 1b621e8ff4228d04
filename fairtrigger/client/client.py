"""The client of a service that waits for its answers.

A lost or refused request is sent again where that is safe. Reading, feedback, observations and rollouts always are; a
prediction is only if it was turned away before anything was counted, since the service counts each one that it answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from fairtrigger.client import feedback, rollouts
from fairtrigger.client.connection import ServiceConnection
from fairtrigger.client.data_frames import TableT
from fairtrigger.client.fairness_figures import FairnessFigures, FairnessSeries
from fairtrigger.client.feedback import ItemReceipt, TrueLabel
from fairtrigger.client.predictions import ForEach, PredictOptions
from fairtrigger.client.results import PredictionResult
from fairtrigger.client.rollouts import RolloutState
from fairtrigger.client.service_calls import Operation, Pause
from fairtrigger.model_inputs import ImageInput

_T = TypeVar("_T")


class Client(ServiceConnection):
    """A client that waits for answers; any number of threads may share one, which keeps one pool of connections.

    Methods raise ServiceError for what the service refuses, and ConfigError or InputError for what is not sent at all.
    """

    def _open(self) -> None:
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[str]:
        """Names of the models that are served."""
        return self._run(self._models())

    def model_card(self, model: str) -> Mapping[str, Any]:
        """Everything that the service says of a model: labels, threshold, limits, fingerprint. Read once, then kept."""
        return self._run(self._card(model))

    def predict_images(
        self,
        model: str,
        images: Iterable[ImageInput],
        *,
        groups: ForEach = None,
        keys: ForEach = None,
        trigger: str | None = None,
        twin: bool = False,
    ) -> list[PredictionResult]:
        """Answers to images - paths, files' bytes, PIL images, uint8 arrays - in order, in as many requests as needed.

        `groups` and `keys` are one for all or one for each: the group of a person, for the statistics, and who asks, so
        that a canary gives one person one version. `trigger` is champion, challenger, none or a version (a role of its
        own may be needed); with `twin` each is also asked of the bare model. An image that cannot be used has an
        `error` in its place.
        """
        return self._run(self._images(model, images, PredictOptions(groups, keys, trigger, twin)))

    def predict_texts(
        self,
        model: str,
        texts: Iterable[str],
        *,
        groups: ForEach = None,
        keys: ForEach = None,
        trigger: str | None = None,
        twin: bool = False,
    ) -> list[PredictionResult]:
        """Answers to texts in order; arguments and errors as for `predict_images`."""
        return self._run(self._texts(model, texts, PredictOptions(groups, keys, trigger, twin)))

    def predict_frame(
        self,
        model: str,
        table: TableT,
        column: str,
        *,
        group: str | None = None,
        key: str | None = None,
        trigger: str | None = None,
        twin: bool = False,
    ) -> TableT:
        """Answers to a column of texts, or of images' paths or bytes; `group` and `key` are columns too.

        Of a pandas DataFrame a DataFrame with its index, of a pyarrow Table a Table, of a list of dicts such a list:
        label, score_<label>, version, digest, prediction_id, truncated, error.
        """
        options = PredictOptions(trigger=trigger, twin=twin)
        return self._run(self._frame(model, table, column, group, key, options))

    def feedback(
        self,
        model: str,
        prediction_ids: Iterable[str],
        labels: Iterable[TrueLabel] = (),
        *,
        groups: ForEach = None,
    ) -> list[ItemReceipt]:
        """Tell true labels, groups or both, that became known later, one for each prediction.

        Sending the same again changes nothing; a later label or group replaces an earlier one.
        """
        return self._run(feedback.give_feedback(model, prediction_ids, labels, groups, self._rules))

    def observe(self, model: str, observations: Iterable[Mapping[str, Any]]) -> list[ItemReceipt]:
        """Tell predictions that another system made, each counted once by its `observation_id` (docs/protocols.md)."""
        return self._run(feedback.tell_observations(model, observations, self._rules))

    def fairness(self, model: str, window: str = "1h", *, attributes: Sequence[str] = ()) -> FairnessFigures:
        """Live fairness of a window: `.frame()` is a pandas DataFrame, `.rows()` the same without pandas."""
        return self._run(self._fairness(model, window, attributes))

    def fairness_over_time(
        self, model: str, window: str = "24h", *, step: str | None = None, attributes: Sequence[str] = ()
    ) -> FairnessSeries:
        """A window of live fairness in steps (1m, 5m, 15m, 1h, 6h, 1d; by default what suits a chart)."""
        return self._run(self._series(model, window, step, attributes))

    def rollout(self, model: str) -> RolloutState:
        """What is decided for a model, and what every replica serves."""
        return self._run(rollouts.rollout_state(model, self._rules))

    def activate(self, model: str, version: str | int, *, reason: str = "", wait: float = 30.0) -> RolloutState:
        """Make a version (`v3`; `none`: the bare model) the champion, and wait until every replica serves it.

        A challenger's trial ends, the rest of the rollout stays. `wait` is in seconds, 0 for not at all; raises
        ReplicasBehind if some do not follow by then.
        """
        return self._run(rollouts.activate(model, version, reason, wait, self._rules))

    def canary(
        self, model: str, version: str | int, share: float = 0.05, *, reason: str = "", wait: float = 30.0
    ) -> RolloutState:
        """Let a challenger answer a share of the requests; `off` ends it. Waits as `activate`."""
        return self._run(rollouts.canary(model, version, share, reason, wait, self._rules))

    def rollback(self, model: str, *, reason: str = "", wait: float = 30.0) -> RolloutState:
        """Return to the rollout before the present one, the whole of it. Waits as `activate`."""
        return self._run(rollouts.roll_back(model, reason, wait, self._rules))

    def _run(self, operation: Operation[_T]) -> _T:
        """Drive an operation: send what it yields, wait where it says so."""
        try:
            step = next(operation)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = operation.send(None)
                    continue
                try:
                    response = self._http.request(**step.request())
                except httpx.TransportError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(response)
        except StopIteration as end:
            found: _T = end.value
            return found
