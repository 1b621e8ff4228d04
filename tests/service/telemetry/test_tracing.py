"""Traces as a collector gets them: one span per request, its stages below it, nothing about inputs or people."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.app import create_app
from tests.service.live import as_item, picture, running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def spans_of(
    tmp_path: Path, model: FrozenClassifier, headers: dict[str, str], share: float = 1.0
) -> tuple[dict[str, ReadableSpan], str]:
    """What is exported of one prediction, by name, and the traceparent of its response."""
    exporter = InMemorySpanExporter()
    body = {"inputs": [as_item(picture(0)), as_item(picture(1))], "group": "secret-group"}
    with FileStore(tmp_path / "store") as store:
        chosen = settings(tmp_path, trace_share=share)
        with running(chosen, store, [model], exporter) as client:
            response = client.post(f"{PREDICT}?group=secret-query", json=body, headers=headers)
            assert response.status_code == 200
            client.get("/secret-path")
    return {span.name: span for span in exporter.get_finished_spans()}, response.headers["traceparent"]


def test_a_request_is_one_span_with_its_stages_below(tmp_path: Path, image_model: FrozenClassifier) -> None:
    spans, traceparent = spans_of(
        tmp_path, image_model, {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "seven"}
    )
    assert set(spans) == {"POST /v1/models/{model}/predict", "GET unmatched", "decode", "queue", "infer"}
    whole = spans["POST /v1/models/{model}/predict"]
    context = whole.get_span_context()
    assert context and whole.parent
    assert traceparent == f"00-{TRACE}-{context.span_id:016x}-01"
    assert (f"{context.trace_id:032x}", f"{whole.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(whole.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/models/{model}/predict",
        "http.response.status_code": 200,
        "fairtrigger.request_id": "seven",
        "fairtrigger.trigger": "faces@none",
        "fairtrigger.batch_size": 2,
    }
    stages = [spans[name] for name in ("decode", "queue", "infer")]
    times = [(stage.start_time or 0, stage.end_time or 0) for stage in stages]
    assert all(stage.parent and stage.parent.span_id == context.span_id for stage in stages)
    assert times[0][1] == times[1][0] and times[1][1] == times[2][0]
    assert (whole.start_time or 0) <= times[0][0] and times[2][1] <= (whole.end_time or 0)
    assert "secret" not in "".join(span.to_json() for span in spans.values())


def test_the_caller_and_the_share_decide_what_is_recorded(tmp_path: Path, image_model: FrozenClassifier) -> None:
    spans, traceparent = spans_of(tmp_path, image_model, {"traceparent": f"00-{TRACE}-{PARENT}-00"}, share=0.0)
    assert spans == {}
    assert traceparent.startswith(f"00-{TRACE}-") and PARENT not in traceparent


FOREIGN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
import pathlib, sys
from service.app import create_app
from tests.bundles import image_bundle
from tests.service.live import running, settings
from triggers.model import load_bundle
from triggers.store.file_store import FileStore
here = pathlib.Path(sys.argv[1])
model = load_bundle(image_bundle(here / "bundle"))
with FileStore(here / "store") as store, running(settings(here), store, [model]) as client:
    print(client.get("/healthz?group=secret").status_code)
print([span.to_json() for span in exporter.get_finished_spans()])
"""


@pytest.mark.slow
def test_the_framework_itself_traces_nothing(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", FOREIGN, str(tmp_path)], capture_output=True, text=True)
    assert ran.stdout.split("\n")[:2] == ["200", "[]"], ran.stdout + ran.stderr


@pytest.mark.slow
def test_without_the_setting_nothing_of_opentelemetry_is_there(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        app = create_app(settings(tmp_path), store, [image_model])
    assert app.state.tracing is None
    code = "import service.app, sys; print(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.slow
def test_without_the_extra_the_setting_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['opentelemetry.sdk'] = None\n"
        "from service.config.settings import Settings\nfrom service.telemetry.tracing import Tracing\n"
        "from triggers.errors import ConfigError\n"
        "try: Tracing(Settings(trace_endpoint='http://127.0.0.1:9/v1/traces'), '0')\n"
        "except ConfigError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "fairtrigger[tracing]" in told.stdout, told.stderr


@pytest.mark.parametrize("endpoint", ["collector:4318", "file:///etc/passwd", ""])
def test_an_endpoint_is_a_web_address(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ValueError, match="trace_endpoint"):
        settings(tmp_path, trace_endpoint=endpoint)
