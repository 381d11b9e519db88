"""Records what was seen as JSON lines, and plays it back: for the morning after.

A line holds the time and what changed since the line before (metrics only in changed samples), so an hour
at two seconds stays small. Secrets are masked before they are written; the file is readable by its owner.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from dashboard.api_client import Action, Outcome, RequestFailed
from dashboard.masking import masked
from dashboard.metrics import Metrics, metrics_from_json, metrics_to_json
from dashboard.settings import SettingsError
from dashboard.snapshots import METRICS, READY, Failure, Link, Part, Snapshot, Want

FORMAT = 1


class Recorder:
    """Appends each Snapshot to a file. Refuses (SettingsError) to overwrite an existing one."""

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise SettingsError(f"record: {path}: {exc.strerror}") from exc
        self._file: TextIO = os.fdopen(descriptor, "w", encoding="utf-8")
        self._file.write(json.dumps({"payd_dashboard_recording": FORMAT}) + "\n")
        self._samples: dict[str, Any] = {}
        self._epoch: float | None = None
        self._seen: dict[str, tuple[float | None, Failure | None]] = {}

    def write(self, snapshot: Snapshot) -> None:
        """Append what changed since the last line."""
        line: dict[str, Any] = {"at": round(snapshot.at, 3), "interval": snapshot.interval_seconds}
        line["link"] = _link_to_json(snapshot.link)
        parts = [snapshot.metrics, snapshot.ready, *snapshot.parts.values()]
        line["parts"] = [self._part(part) for part in parts if self._is_new(part)]
        self._file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _is_new(self, part: Part) -> bool:
        state = (part.at, part.failure)
        if self._seen.get(part.want.name) == state:
            return False
        self._seen[part.want.name] = state
        return True

    def _part(self, part: Part) -> dict[str, Any]:
        want = {"name": part.want.name, "path": part.want.path, "params": list(part.want.params)}
        record: dict[str, Any] = {"want": want, "at": part.at}
        if part.failure is not None:
            record["failure"] = _failure_to_json(part.failure)
        elif isinstance(part.data, Metrics):
            record["metrics"] = self._changed(part.data)
        else:
            record["data"] = masked(part.data)
        return record

    def _changed(self, metrics: Metrics) -> dict[str, Any]:
        if metrics.epoch != self._epoch:
            self._samples, self._epoch = {}, metrics.epoch
        whole = metrics_to_json(metrics)
        fresh = {json.dumps(sample[:2]): sample for sample in whole["samples"]}
        changed = [sample for key, sample in fresh.items() if self._samples.get(key) != sample]
        restart, self._samples = not self._samples, fresh
        return {"whole": restart, "families": whole["families"] if restart else [], "samples": changed}


def read_recording(path: Path) -> Iterator[Snapshot]:
    """The Snapshots of a recording, in order. Raises SettingsError when the file is none; a torn last line
    (the recorder was killed) ends it quietly."""
    try:
        with path.open(encoding="utf-8") as file:
            header = json.loads(file.readline())
            if not isinstance(header, dict) or header.get("payd_dashboard_recording") != FORMAT:
                raise SettingsError(f"replay: {path}: not a recording of this dashboard")
            snapshot, samples = Snapshot(), {}
            for line in file:
                if not line.endswith("\n"):
                    return
                snapshot = _applied(snapshot, json.loads(line), samples)
                yield snapshot
    except OSError as exc:
        raise SettingsError(f"replay: {path}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SettingsError(f"replay: {path}: damaged: {exc}") from exc


def _applied(before: Snapshot, line: dict[str, Any], samples: dict[str, Any]) -> Snapshot:
    parts = dict(before.parts)
    metrics, ready = before.metrics, before.ready
    for record in line["parts"]:
        part = _part_from_json(record, samples, before)
        if part.want.name == METRICS.name:
            metrics = part
        elif part.want.name == READY.name:
            ready = part
        else:
            parts[part.want.name] = part
    return Snapshot(
        at=float(line["at"]),
        link=_link_from_json(line["link"]),
        metrics=metrics,
        ready=ready,
        parts=parts,
        interval_seconds=float(line["interval"]),
    )


def _part_from_json(record: dict[str, Any], samples: dict[str, Any], before: Snapshot) -> Part:
    told = record["want"]
    want = Want(str(told["name"]), str(told["path"]), tuple((str(k), str(v)) for k, v in told["params"]))
    if "failure" in record:
        kept = {METRICS.name: before.metrics, READY.name: before.ready}.get(want.name) or before.part(want)
        return replace(kept, want=want, failure=Failure(**record["failure"]))
    if "metrics" not in record:
        return Part(want, record["data"], float(record["at"]))
    change = record["metrics"]
    if change["whole"]:
        samples.clear()
        samples["families"] = change["families"]
    for sample in change["samples"]:
        samples[json.dumps(sample[:2])] = sample
    kept_samples = [sample for key, sample in samples.items() if key != "families"]
    data = metrics_from_json({"families": samples["families"], "samples": kept_samples})
    return Part(want, data, float(record["at"]))


def _failure_to_json(failure: Failure) -> dict[str, Any]:
    return {"cause": failure.cause, "detail": failure.detail, "status": failure.status, "code": failure.code}


def _link_to_json(link: Link) -> dict[str, Any]:
    failure = None if link.failure is None else _failure_to_json(link.failure)
    return {"state": link.state, "since": link.since, "failure": failure, "attempts": link.attempts}


def _link_from_json(value: dict[str, Any]) -> Link:
    failure = Failure(**value["failure"]) if value["failure"] else None
    return Link(str(value["state"]), float(value["since"]), failure, None, int(value["attempts"]))


class ReplaySource:
    """Stands where the daemon stands during a replay: nothing new can be asked, nothing can be changed."""

    async def read(self, want: Want) -> Any:
        """Always RequestFailed: the recording holds only what was on screen."""
        raise RequestFailed(Failure("replay", want.path))

    async def act(self, action: Action) -> Outcome:
        """Always refused: the past cannot be refunded."""
        return Outcome(None, None, Failure("replay", action.path))

    def close(self) -> None:
        """Nothing to let go of."""
