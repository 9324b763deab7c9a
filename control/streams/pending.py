"""What was changed of a stream on air, and is not in what plays."""

from collections.abc import Collection

from control.db import Row

#: Columns that count from the next start on.
COLUMNS = ("latency_mode", "video_codec", "audio_codec", "bitrate_mode", "keyframe_interval", "qualities")


class Pending:
    """Remembers, of streams that are changed on air, what they began with; as long as this time on air lasts, and no longer."""

    def __init__(self) -> None:
        #: By stream: when it began, and the columns that have changed since as they were then.
        self._before: dict[int, tuple[float, dict[str, object]]] = {}

    def note(self, row: Row, columns: Collection[str], since: float) -> None:
        """``columns`` of ``row``, as it is still, are about to change; it began at ``since``."""
        began, before = self._before.get(row["id"], (since, {}))
        if began != since:
            before = {}
        for column in COLUMNS:
            if column in columns:
                before.setdefault(column, row[column])
        if before:
            self._before[row["id"]] = since, before

    def of(self, row: Row, since: float) -> list[str]:
        """Which columns of ``row``, which began at ``since``, are not as they were then."""
        began, before = self._before.get(row["id"], (since, {}))
        return [column for column, value in before.items() if row[column] != value] if began == since else []

    def keep(self, stream_ids: Collection[int]) -> None:
        """All others are not on air any more."""
        self._before = {stream_id: known for stream_id, known in self._before.items() if stream_id in stream_ids}
