"""The calendar's rows of the operation table: JSON in, use cases, JSON out."""

from kalends.domain.calendar import Bullet, Grip
from kalends.domain.events import moment
from kalends.domain.periods import Period, period_of
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.edge.operations import Answer, Call, Operation
from kalends.search import calendar_schemas as schemas
from kalends.search.calendar import Listed, ReadCalendar, Version
from kalends.search.routes import event_out

_NODE = "/memories/{memory}/toc/{node}"


class CalendarRoutes:
    """``/memories/{memory}/toc`` and ``/grips``."""

    def __init__(self, *, read: ReadCalendar) -> None:
        self._read = read

    async def years(self, call: Call) -> Answer:
        """The years."""
        query: schemas.TocQuery = call.query
        bound = f"toc\0{call.scoped.key}"
        found = await self._read.years(call.scoped, after=_after(query.cursor, bound), limit=query.limit)
        return Answer(body=_list_out(found, bound))

    async def show(self, call: Call) -> Answer:
        """One node; nothing but its tag to whoever has this very version."""
        query: schemas.NodeQuery = call.query
        found = await self._read.node(call.scoped, period_of(call.path["node"]), number=query.version)
        tag = f'"{found.opened.content_mac.hex()}.{found.number}.{found.newest}.{found.opened.position.version}"'
        if _has(call.headers.get("if-none-match", ""), tag):
            return Answer(status=304, headers={"ETag": tag})
        return Answer(body=node_out(found), headers={"ETag": tag})

    async def children(self, call: Call) -> Answer:
        """What lies below a node."""
        query: schemas.TocQuery = call.query
        period = period_of(call.path["node"])
        bound = f"children\0{call.scoped.key}\0{period.id}"
        found = await self._read.children(call.scoped, period, after=_after(query.cursor, bound), limit=query.limit)
        return Answer(body=_list_out(found, bound))

    async def grips(self, call: Call) -> Answer:
        """What a node's lines rest on."""
        query: schemas.ProofsQuery = call.query
        period = period_of(call.path["node"])
        bound = f"grips\0{call.scoped.key}\0{period.id}\0{query.version}"
        number, after = query.version, 0
        if query.cursor is not None:
            number, after = (int(value) for value in decode_cursor(query.cursor, bound_to=bound, shape=(int, int)))
        found = await self._read.grips(call.scoped, period, number=number, after=max(after, 0), limit=query.limit)
        cursor = None if found.after is None else encode_cursor([found.number, found.after], bound_to=bound)
        return Answer(body=schemas.GripList(items=[grip_out(grip) for grip in found.grips], next_cursor=cursor))

    async def expand(self, call: Call) -> Answer:
        """A grip, and what was said around it."""
        query: schemas.ExpandQuery = call.query
        found = await self._read.expand(
            call.scoped, call.path["grip_id"], before=query.before, after=query.after, clearance=call.principal.clearance
        )
        fields = grip_out(found.grip)
        out = schemas.ExpandedGrip(
            **{name: getattr(fields, name) for name in schemas.GripOut.__struct_fields__},
            node_id=found.node.node.period.id,
            node_title=found.node.node.title,
            before=[event_out(opened) for opened in found.before],
            span=[event_out(opened) for opened in found.span],
            after=[event_out(opened) for opened in found.after],
            truncated=found.truncated,
        )
        return Answer(body=out)


def summary_out(version: Version) -> schemas.NodeSummaryOut:
    """A node as lists show it."""
    node = version.opened.node
    return schemas.NodeSummaryOut(
        node_id=node.period.id,
        level=node.period.level,
        label=node.period.label,
        title=node.title,
        keywords=list(node.keywords),
        event_count=node.event_count,
        start=moment(node.first_us),
        end=moment(node.last_us),
        agents=list(node.agents),
        version=version.number,
        degraded=node.degraded or None,
    )


def node_out(version: Version) -> schemas.NodeOut:
    """A node as JSON."""
    node, short = version.opened.node, summary_out(version)
    parent = node.period.parent
    return schemas.NodeOut(
        **{name: getattr(short, name) for name in schemas.NodeSummaryOut.__struct_fields__},
        bullets=[_bullet_out(bullet) for bullet in node.bullets],
        parent=None if parent is None else parent.id,
        child_count=len(node.children),
        event_ids=list(node.events),
        session_id=node.session_id or None,
        newest_version=version.newest,
        author=node.author,
        recorded_at=moment(version.opened.recorded_us),
    )


def grip_out(grip: Grip) -> schemas.GripOut:
    """A grip as JSON."""
    return schemas.GripOut(
        grip_id=grip.id,
        excerpt=grip.excerpt,
        first_event_id=grip.first,
        last_event_id=grip.last,
        session_id=grip.session_id,
        occurred_at=moment(grip.occurred_us),
        speaker=grip.speaker,
    )


def _bullet_out(bullet: Bullet) -> schemas.BulletOut:
    return schemas.BulletOut(text=bullet.text, grips=[grip_out(grip) for grip in bullet.grips])


def _list_out(found: Listed, bound: str) -> schemas.NodeList:
    cursor = None if found.after is None else encode_cursor([found.after.id], bound_to=bound)
    return schemas.NodeList(items=[summary_out(version) for version in found.nodes], next_cursor=cursor)


def _after(cursor: str | None, bound: str) -> Period | None:
    return None if cursor is None else period_of(str(decode_cursor(cursor, bound_to=bound, shape=(str,))[0]), pointer="/cursor")


def _has(given: str, tag: str) -> bool:
    """Whether an ``If-None-Match`` names *tag*; a weak tag of ours is as good as a strong one."""
    return given.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in given.split(",")}


def operations(routes: CalendarRoutes) -> list[Operation]:
    """The rows of the calendar; all need the right ``search``."""
    return [
        Operation(
            name="toc.list",
            method="GET",
            path="/memories/{memory}/toc",
            right="search",
            summary="The years of the calendar",
            handle=routes.years,
            answer=schemas.NodeList,
            query=schemas.TocQuery,
            subject="toc.list",
        ),
        Operation(
            name="toc.get",
            method="GET",
            path=_NODE,
            right="search",
            summary="A node of the calendar",
            handle=routes.show,
            answer=schemas.NodeOut,
            query=schemas.NodeQuery,
            statuses=(304,),
            subject="toc.get",
        ),
        Operation(
            name="toc.children",
            method="GET",
            path=f"{_NODE}/children",
            right="search",
            summary="The nodes below a node",
            handle=routes.children,
            answer=schemas.NodeList,
            query=schemas.TocQuery,
            subject="toc.children",
        ),
        Operation(
            name="toc.grips",
            method="GET",
            path=f"{_NODE}/grips",
            right="search",
            summary="What a node's lines rest on",
            handle=routes.grips,
            answer=schemas.GripList,
            query=schemas.ProofsQuery,
        ),
        Operation(
            name="grips.expand",
            method="GET",
            path="/memories/{memory}/grips/{grip_id}",
            right="search",
            summary="A grip and what was said around it",
            handle=routes.expand,
            answer=schemas.ExpandedGrip,
            query=schemas.ExpandQuery,
            subject="grips.expand",
        ),
    ]
