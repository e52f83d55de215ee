"""One document: it shows a session to its reader, and draws it as it grows. `ui.commands` is what its browser asks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from bokeh.document import Document
from bokeh.events import Event, MouseWheel, PanStart, Tap
from bokeh.layouts import column

from pipeline.consent import CURRENT
from pipeline.keys import digest
from pipeline.purposes import not_offered, offers
from pipeline.session import Role
from pipeline.timeline import Timeline, Turn
from ui.bridge import Bridge
from ui.commands import Commands
from ui.feed import Changes, Feed, Hub
from ui.looking import Looking
from ui.palette import DARK, LIGHT
from ui.shares import in_a_sentence, people, whole_cards
from ui.summary import Card, cards, sentence
from ui.transcript import lines
from ui.views.moods import Moods
from ui.views.places import Places
from ui.views.probabilities import Probabilities
from ui.views.ribbons import Ribbons
from ui.views.window import Window

BEAT_SECONDS = 0.2  # a document is drawn at most this often


class Page:
    """A document's views, the feed that they show, and its reader's role; `address` is where its browser is."""

    def __init__(self, document: Document, hub: Hub, address: str = "") -> None:
        self.document = document
        self.hub = hub
        self.bridge = Bridge(name="bridge")
        self.window = Window()
        self.ribbons = Ribbons(self.window)
        self.probabilities = Probabilities(self.window)
        self.moods = Moods()
        self.places = Places()  # in place of the mood map's trails, once the conversation is over
        self.map = column(self.moods.figure, name="moods", sizing_mode="stretch_width")
        self.feed: Feed | None = None
        self.role: Role | None = None
        self.looking = Looking(hub.store.looks)
        self.refusal = ""  # why the session is not shown: "unknown" or "denied"
        self.shown_by = ""  # the digest of the key that its reader has come with
        self.selected: int | None = None
        self.turn: int | None = None
        self.dark = False
        self._reveal: Turn | None = None
        self._whole: tuple[list[Card], str] | None = None  # what is said of a conversation that is over
        self._pending = Changes(rewritten=True)
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.commands = Commands(self, address)
        self._furnish()
        self._spawn(self._beat())

    def _furnish(self) -> None:
        """Put everything into the document."""
        self.document.title = "ToneTrack"
        self.document.config.update(reconnect_session=False, notify_connection_status=False, notifications=None)
        settings = self.hub.settings
        self.document.template_variables.update(
            api_url=settings.api_url,
            api_port=settings.port,
            api_keys=settings.require_api_keys,
            purposes=[offer for offer in offers(settings.refused_purposes) if not offer.refused],
            not_offered=not_offered(settings.refused_purposes),
            wording=CURRENT,
        )
        # Bokeh listens for those events alone that a model has when it joins the document.
        self.ribbons.figure.on_event(Tap, self._tapped)
        self.ribbons.figure.on_event(MouseWheel, self._roam)
        for figure in (self.ribbons.figure, self.probabilities.figure):
            figure.on_event(PanStart, self._roam)
        self.places.figure.height = self.moods.figure.height
        for root in (self.ribbons.figure, self.probabilities.figure, self.map):
            self.document.add_root(root)
        self.document.add_root(self.bridge)
        self._paint()
        self.bridge.on_change("command", lambda _attr, _old, new: self._spawn(self.commands.obey(new)))
        self.document.on_session_destroyed(self._leave)

    # What commands do to it

    def show(self, session: str, role: Role, key: str) -> None:
        """Show a session to whoever has come with this key, which was right a moment ago."""
        self.role, self.shown_by = role, digest(key)
        self.feed = self.hub.join(session, self.changed)
        self.feed.keys = self.feed.keys | {role: self.shown_by}
        self.looking.at(session, role)

    def close(self) -> None:
        """Show no session any more."""
        if self.feed is not None:
            self.hub.leave(self.feed, self.changed)
        self.looking.end()
        self.feed, self.role, self.selected, self.turn = None, None, None, None

    def choose(self, speaker: int) -> None:
        """The panels show somebody."""
        self.selected = speaker
        self.changed(Changes())

    def go_to(self, turn: Turn) -> None:
        """Frame a turn, and bring it into sight."""
        self.turn, self._reveal = turn.id, turn
        self.choose(turn.speaker)

    def answer(self, number: int, name: str, **fields: Any) -> None:
        """Tell the browser what came of a command."""
        self.document.add_next_tick_callback(lambda: self.bridge.answer(number, name, **fields))

    # Drawing

    def changed(self, changes: Changes) -> None:
        """Draw it, soon."""
        self._pending.add(changes)
        self._dirty.set()

    async def _beat(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self.document.add_next_tick_callback(self._draw)
            await asyncio.sleep(BEAT_SECONDS)

    def _draw(self) -> None:
        """Runs with the document's lock, the only place where its models change."""
        changes, self._pending = self._pending, Changes()
        self._paint()
        if self.feed is not None and self.role and self.feed.keys.get(self.role) != self.shown_by:
            self._shut_out()
        elif self.feed is not None:
            self._draw_timeline(self.feed.timeline, changes)
        else:
            self.bridge.update(people="[]", said="[]", summary="")
        self.bridge.session = json.dumps(self.session_state())

    def _shut_out(self) -> None:
        """Another key has taken the place of its reader's: of what was shown by that one nothing stays."""
        self.close()
        self.refusal = "denied"
        self._draw_timeline(Timeline(), Changes(rewritten=True))

    def _draw_timeline(self, timeline: Timeline, changes: Changes) -> None:
        shown, summary = self._people(timeline, changes)
        self.selected = changes.now_called(self.selected)
        self._follow_speaker([card.speaker for card in shown if card.speaking], [card.speaker for card in shown])
        self.window.move(timeline.heard_until, timeline.ended)
        if self._reveal is not None:
            self.window.show(self._reveal.start, self._reveal.end)
            self._reveal = None
        self.ribbons.draw(timeline, changes, self.selected)
        self.ribbons.choose(timeline.turns.get(self.turn) if self.turn is not None else None)
        self.probabilities.draw(timeline, changes, self.selected)
        self._draw_map(timeline, changes)
        if changes.words or changes.rewritten:
            self.bridge.said = json.dumps([line.model_dump() for line in lines(timeline)])
        self.bridge.people = json.dumps([card.model_dump() for card in shown])
        self.bridge.summary = summary

    def _people(self, timeline: Timeline, changes: Changes) -> tuple[list[Card], str]:
        """A card a speaker, and who sounds how in a sentence: now or, once it is over, in all of the conversation."""
        recognised = self.feed.recognised if self.feed else ()
        if not timeline.ended:
            self._whole = None
            now = cards(timeline, recognised)
            return now, sentence(now)
        if self._whole is None or changes != Changes():
            self._whole = whole_cards(timeline, recognised), in_a_sentence(people(timeline))
        return self._whole

    def _draw_map(self, timeline: Timeline, changes: Changes) -> None:
        figure = self.places.figure if timeline.ended else self.moods.figure
        shown = self.map.children == [figure]
        if not timeline.ended:
            self.moods.draw(timeline, self.selected)
        elif not shown or changes != Changes():
            self.places.draw(timeline)
        if not shown:  # swapped, for a figure that was hidden at first paints a strip of itself that stays
            self.map.children = [figure]

    def session_state(self) -> dict[str, Any]:
        """What the page around the plots shows of the session."""
        feed = self.feed
        if feed is None:
            return {"state": self.refusal or "ready", "diariser": self.hub.settings.diariser}
        record = feed.record
        state = "ended" if feed.timeline.ended else "live" if feed.live else "waiting"
        if not feed.caught_up:
            state = "loading"
        return {
            "state": "erased" if feed.gone else state,
            "id": feed.session,
            "role": self.role,
            "name": record.name if record else "",
            "purpose": record.purpose if record else "",
            "remark": record.remark if record else "",
            "wording": record.consent.version if record and record.consent else "",
            "agreedAt": record.created_at if record else None,
            "diariser": (record and record.diariser) or self.hub.settings.diariser,
            "stopped": bool(record and record.stopped) or feed.timeline.ended,
            "expiresIn": round(feed.expires_in),
            "heardUntil": feed.timeline.heard_until,
            "behind": feed.behind if feed.live else None,
            "readings": len(feed.timeline.readings),
            "selected": self.selected,
            "view": self.window.mode,
            "trouble": feed.trouble,
            "warning": feed.warning,
        }

    def _follow_speaker(self, speaking: list[int], known: list[int]) -> None:
        """The panels show who was chosen or, until someone is, the first who was heard."""
        if self.selected not in known:
            self.selected = None
        if self.selected is None and known:
            self.selected = speaking[0] if speaking else known[0]

    def _paint(self) -> None:
        palette = DARK if self.dark else LIGHT
        if self.document.theme is palette.theme():
            return
        self.document.theme = palette.theme()
        for view in (self.ribbons, self.probabilities, self.moods, self.places):
            view.paint(palette)

    def _tapped(self, event: Event) -> None:
        height = event.y if isinstance(event, Tap) else None
        speaker = self.ribbons.speaker_at(height) if height is not None else None
        if speaker is not None:
            self.choose(speaker)

    def _roam(self, _event: Event) -> None:
        self.window.mode = "free"
        self.changed(Changes())

    # Life and death

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave(self, _context: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        self.close()
