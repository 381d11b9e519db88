"""A person closes a contradiction: the record and, when payd knows the order, a line in its journal, in one commit."""

from __future__ import annotations

from dataclasses import replace

from payd import limits
from payd.core.changes import Draft, Word
from payd.errors import StaleVersion, StorageUnavailable
from payd.models.changes import ChangeSet, Put
from payd.models.discrepancy import Discrepancy, DiscrepancyStatus
from payd.models.evidence import Source
from payd.ports import Clock, Storage


async def resolve_discrepancy(
    storage: Storage, clock: Clock, discrepancy_id: str, *, note: str, by: str, request_id: str | None
) -> Discrepancy | None:
    """Close one with a note; None when there is none. One that is resolved already is returned as it is."""
    for _ in range(limits.CONTENDED_ATTEMPTS_MAX):
        found = await storage.load_discrepancy(discrepancy_id)
        if found is None or found.status is DiscrepancyStatus.RESOLVED:
            return found
        now = clock.now()
        resolved = replace(
            found,
            version=found.version + 1,
            status=DiscrepancyStatus.RESOLVED,
            updated_at=now,
            resolved_at=now,
            resolved_by=by,
            note=note,
        )
        change = ChangeSet(puts=(Put(resolved, found.version),))
        snapshot = await storage.load_order(found.out_trade_no) if found.out_trade_no else None
        if snapshot is not None:
            draft = Draft(snapshot, Word(source=Source.OPERATOR, at=now, request_id=request_id))
            detail = {"kind": found.kind.value, "note": note, "by": by}
            draft.line("discrepancy", found.id, None, None, detail)
            written = draft.finish("applied").change
            assert written is not None, "a line was written"
            change = replace(written, puts=(*written.puts, *change.puts))
        try:
            await storage.commit(change)
        except StaleVersion:
            continue
        return resolved
    raise StorageUnavailable("the discrepancy kept changing")
