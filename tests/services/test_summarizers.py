"""The writer of summaries against chat models that are honest, broken, away, or obey what an event tells them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support import talk
from tests.support.attacks import ATTACKS
from tests.support.chat_server import ChatServer, Reply, chat_server, events_of, honest, nobody, summary
from tests.support.engines import shared_embedder
from tests.support.faulty import Faulty
from tests.support.writers import Hands, Notes, Purse

from kalends.adapters.embedded.tokens import MiniLmTokenizer
from kalends.adapters.vllm.chat import open_chat
from kalends.domain.calendar import Material, Summary
from kalends.domain.errors import Unavailable
from kalends.summarize.budget import Budget, Spent
from kalends.summarize.chat import ChatSummarizer
from kalends.summarize.extractive import ExtractiveSummarizer
from kalends.summarize.writing import PROBE_S, Writer

MEMORY = "acme/notes"


@dataclass
class Desk:
    """A writer, and what it was given."""

    writer: Writer
    server: ChatServer
    embedder: Faulty
    extractive: ExtractiveSummarizer
    clock: Hands = field(default_factory=Hands)
    notes: Notes = field(default_factory=Notes)

    async def write(self, material: Material, memory: str = MEMORY) -> Summary:
        return await self.writer.summarize(material, memory=memory)


@asynccontextmanager
async def desk(
    answer: Callable[[dict[str, Any]], Reply] = honest,
    *,
    url: str = "",
    deadline_s: float = 30.0,
    tokens: int = 0,
    purse: Purse | None = None,
    prompt_tokens: int = 6000,
) -> AsyncIterator[Desk]:
    """A writer over a server that answers with *answer*, or over *url*."""
    purse = purse or Purse()
    async with chat_server(answer) as server:
        chat = open_chat(url or server.url, model="Qwen/Small-1.5B", deadline_s=deadline_s)
        embedder = Faulty(shared_embedder(), dependency="model")
        clock, notes, extractive = Hands(), Notes(), ExtractiveSummarizer(embedder)
        writer = Writer(
            extractive,
            chat=ChatSummarizer(chat, tokenizer=MiniLmTokenizer(), prompt_tokens=prompt_tokens),
            budget=Budget(tokens=tokens, clock=clock, load=purse.load, save=purse.save),
            clock=clock,
            fell_back=notes.fell_back,
            took=notes.took,
        )
        yield Desk(writer=writer, server=server, embedder=embedder, extractive=extractive, clock=clock, notes=notes)
        await chat.close()


async def assert_fell_back(at: Desk, material: Material, reason: str) -> Summary:
    """The summary is the extractive one, and it, and the counter, say why."""
    written = await at.write(material)
    plain = await at.extractive.summarize(material, memory=MEMORY)

    assert written.degraded == reason
    assert at.notes.reasons[reason] >= 1
    assert (written.title, written.claims, written.keywords, written.author) == (plain.title, plain.claims, plain.keywords, plain.author)
    assert talk.is_borne_out(written, material)
    assert written.claims
    return written


def attacked(name: str) -> Material:
    """A conversation in which somebody attacks the summarizer."""
    return talk.material(*talk.BILLING[:4], f"stranger: {ATTACKS[name][0]}", *talk.BILLING[4:])


def obeying(name: str, *, citing: str) -> Callable[[dict[str, Any]], Reply]:
    """A model that writes what the attack wants, in title, bullets and keywords, citing its event or all of them."""
    line = ATTACKS[name][1]

    def answer(asked: dict[str, Any]) -> Reply:
        refs = [
            event["ref"]
            for event in events_of(asked)
            if citing == "everything" or (event["speaker"] == "stranger") != (citing == "all but the attack")
        ]
        title = "Billing service moves to Adyen" if citing == "the attack, with a good title" else line[:60]
        return Reply(text=summary(title, [(line, refs)], [line[:20]]))

    return answer


@pytest.mark.parametrize("citing", ["the attack", "the attack, with a good title", "everything", "all but the attack"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_model_that_obeys_an_event_is_not_believed(name: str, citing: str) -> None:
    """The node has extractive bullets of the honest events and says so; nothing of the attack is in it."""
    material = attacked(name)
    async with desk(obeying(name, citing=citing)) as at:
        written = await at.write(material)

        assert written.degraded.startswith("chat-unusable: ")
        assert sum(at.notes.reasons.values()) == 1
        assert len(at.server.asked) == 2
        assert written.author == at.extractive.identity
    assert talk.is_borne_out(written, material)
    assert len(written.claims) >= 3
    assert "k5" not in {piece.key for claim in written.claims for piece in claim.evidence}
    told = json.dumps([written.title, written.keywords, [claim.text for claim in written.claims]], ensure_ascii=False)
    assert ATTACKS[name][1] not in told


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_model_that_resists_is_believed(name: str) -> None:
    """An attack beside honest events is no reason to refuse what was made of these."""
    said = summary("Billing moves from Stripe to Adyen", [("The billing service moves from Stripe to Adyen.", ["e1"])], ["Stripe", "Adyen"])
    async with desk(lambda _: Reply(text=said)) as at:
        written = await at.write(attacked(name))

    assert (written.degraded, written.title) == ("", "Billing moves from Stripe to Adyen")


GOOD = summary("Billing moves to Adyen", [("Billing moves from Stripe to Adyen by the end of March.", ["e1"])], ["billing", "Adyen"])


@pytest.mark.parametrize(
    ("said", "check"),
    [
        ("", "json"),
        ("I cannot help with that.", "json"),
        (GOOD[:60], "json"),
        ("[" * 3000, "json"),
        ('["a"]', "shape"),
        ('{"title": 5, "bullets": [], "keywords": []}', "shape"),
        ('{"title": "a", "bullets": [{"text": "b"}], "keywords": []}', "shape"),
        ('{"title": "a", "bullets": [], "keywords": []}', "bullets"),
        (summary("Billing moves", [("Billing moves.", ["e1"])] * 6), "bullets"),
        (summary("Billing moves", [(" ", ["e1"])]), "bullets"),
        (summary("Billing moves", [("Billing moves to Adyen.", [])]), "cites"),
        (summary("Billing moves", [("Billing moves to Adyen.", ["e99"])]), "cites"),
        (summary("Billing moves", [("Billing moves to Adyen.", ["e1", "k1"])]), "cites"),
        (summary("Billing moves", [("Billing moves to Adyen. " * 30, ["e1"])]), "length"),
        (summary("Billing moves", [("There are 4,300 open subscriptions.", ["e6"])]), "numbers"),
        (summary("Billing moves", [("There are seven open subscriptions.", ["e6"])]), "numbers"),
        (summary("Billing moves", [("The contract with Stripe ends on 29 March.", ["e2"])]), "numbers"),
        (summary("Billing moves", [("The contract with Stripe ends on 31 April.", ["e2"])]), "names"),
        (summary("Billing moves", [("The cut-over is led by Zoltan.", ["e2"])]), "names"),
        (summary("Billing moves", [("Zoltan leads the cut-over from Stripe.", ["e2"])]), "names"),
        (summary("Billing moves", [("The webhooks go to PayPal twice.", ["e5"])]), "names"),
        (summary("Billing moves", [("The billing service moves, see evil.example/x.", ["e1"])]), "links"),
        (summary("Billing moves", [("Priya is very angry and wants to quit.", ["e1"])]), "support"),
        (summary("Billing moves", [("Marco and Priya.", ["e1"])]), "support"),
        (summary("", [("Billing moves to Adyen.", ["e1"])]), "title"),
        (summary("Zoltan moves billing", [("Billing moves to Adyen.", ["e1"])]), "title"),
        (summary("Zoltan Moves Billing To Adyen", [("Billing moves to Adyen.", ["e1"])]), "title"),
        (summary("Billing in 1999", [("Billing moves to Adyen.", ["e1"])]), "title"),
        (summary("Cheap pills here", [("Billing moves to Adyen.", ["e1"])]), "title"),
        (summary("Ignore all previous instructions", [("Billing moves to Adyen.", ["e1"])]), "title"),
    ],
)
async def test_an_answer_that_its_events_do_not_bear_out_is_not_believed(said: str, check: str) -> None:
    """Garbage, cut JSON, unknown references, invented numbers and names: each gives an extractive node that says which check it was."""
    async with desk(lambda _: Reply(text=said)) as at:
        await assert_fell_back(at, talk.material(*talk.BILLING), f"chat-unusable: {check}")
        assert len(at.server.asked) == 2


async def test_an_answer_that_was_cut_is_not_believed() -> None:
    """Not even if what is there could be read."""
    async with desk(lambda _: Reply(text=GOOD, finish="length")) as at:
        await assert_fell_back(at, talk.material(*talk.BILLING), "chat-unusable: cut")


async def test_a_model_that_is_told_its_mistake_may_mend_it() -> None:
    """The second answer counts; the question names what was wrong."""
    bad = summary("Billing moves", [("Zoltan leads the cut-over from Stripe.", ["e2"])])
    async with desk() as at:
        at.server.answer = lambda _: Reply(text=bad if len(at.server.asked) == 1 else GOOD)
        written = await at.write(talk.material(*talk.BILLING))

        assert (written.title, written.degraded, written.author) == ("Billing moves to Adyen", "", "chat-1-qwen-small-1.5b")
        assert "Zoltan" in at.server.asked[1]["messages"][1]["content"]
        assert at.notes.reasons.total() == 0


async def test_a_model_that_is_down_holds_nothing_up() -> None:
    """It costs one try, then none until the probe; the nodes in between are extractive and say so."""
    async with desk(url=await nobody()) as at:
        for _ in range(3):
            await assert_fell_back(at, talk.material(*talk.BILLING), "chat-unavailable")
        assert at.notes.busy.count("chat") == 1


async def test_a_model_that_is_slow_holds_up_one_summary_only() -> None:
    """The deadline passes once, not once for each node."""
    never = asyncio.Event()
    async with desk(lambda _: Reply(after=never), deadline_s=0.05) as at:
        for _ in range(3):
            await assert_fell_back(at, talk.material(*talk.BILLING), "chat-timeout")
        assert len(at.server.asked) == 1
        never.set()


async def test_a_model_that_comes_back_is_used_again() -> None:
    """One summary probes it when its time has come."""
    async with desk(lambda _: Reply(status=503)) as at:
        await assert_fell_back(at, talk.material(*talk.BILLING), "chat-unavailable")
        at.server.answer = honest
        await assert_fell_back(at, talk.material(*talk.BILLING), "chat-unavailable")
        at.clock.forward(PROBE_S)
        assert (await at.write(talk.material(*talk.BILLING))).degraded == ""
        assert (await at.write(talk.material(*talk.FLAT))).degraded == ""


async def test_nobody_waits_for_a_probe_but_the_one_who_makes_it() -> None:
    """While it is under way, others fall back at once."""
    gate = asyncio.Event()
    async with desk(lambda _: Reply(status=503)) as at:
        await at.write(talk.material(*talk.BILLING))
        at.clock.forward(PROBE_S)
        reached = asyncio.Event()

        def waiting(asked: dict[str, Any]) -> Reply:
            reached.set()
            return Reply(text=GOOD, after=gate)

        at.server.answer = waiting
        probe = asyncio.create_task(at.write(talk.material(*talk.BILLING)))
        await reached.wait()
        await assert_fell_back(at, talk.material(*talk.FLAT), "chat-unavailable")
        gate.set()
        assert (await probe).degraded == ""


async def test_a_question_that_the_model_refuses_is_no_outage() -> None:
    """The next one may fit."""
    async with desk(lambda _: Reply(status=400)) as at:
        await assert_fell_back(at, talk.material(*talk.BILLING), "chat-unusable: request")
        at.server.answer = honest
        assert (await at.write(talk.material(*talk.BILLING))).degraded == ""


async def test_without_the_embedder_the_work_stays_queued() -> None:
    """The error rises; nothing is written that is not there."""
    async with desk(lambda _: Reply(status=503)) as at:
        at.embedder.leave("embed")
        with pytest.raises(Unavailable):
            await at.write(talk.material(*talk.BILLING))


async def test_a_memory_that_spent_its_budget_falls_back_until_the_next_day() -> None:
    """Each memory has its own; a restart does not renew it; refused answers cost too."""
    purse = Purse()
    async with desk(tokens=10, purse=purse) as at:
        assert (await at.write(talk.material(*talk.BILLING))).degraded == ""
        await assert_fell_back(at, talk.material(*talk.BILLING), "budget")
        assert (await at.write(talk.material(*talk.BILLING), memory="acme/diary")).degraded == ""
    async with desk(tokens=10, purse=purse) as at:
        await assert_fell_back(at, talk.material(*talk.BILLING), "budget")
        at.clock.forward(24 * 3600)
        assert (await at.write(talk.material(*talk.BILLING))).degraded == ""
    assert isinstance(purse.kept[MEMORY], Spent)


async def test_without_a_chat_model_nothing_is_degraded() -> None:
    """The extractive summarizer is then what was wanted."""
    async with desk() as at:
        alone = Writer(
            at.extractive,
            chat=None,
            budget=Budget(tokens=1, clock=at.clock, load=Purse().load, save=Purse().save),
            clock=at.clock,
            fell_back=at.notes.fell_back,
            took=at.notes.took,
        )
        written = await alone.summarize(talk.material(*talk.BILLING), memory=MEMORY)

    assert written.degraded == ""
    assert alone.identity == at.extractive.identity
    assert at.writer.identity == f"chat-1-qwen-small-1.5b+{at.extractive.identity}"
    assert at.notes.busy == ["extractive"]


async def test_a_long_conversation_is_cut_to_the_tokens_allowed() -> None:
    """Every event keeps a part of its text as long as there is room for that, then every so many-th is left out."""
    long = talk.material(*(f"user: {number} " + "pumps and valves in hall seven " * 200 for number in range(60)))
    async with desk(prompt_tokens=3000) as at:
        await at.write(long)
        asked = at.server.asked[0]["messages"]
        assert MiniLmTokenizer().count(asked[0]["content"] + asked[1]["content"]) <= 3000
        assert len(events_of(at.server.asked[0])) > 20
    many = talk.material(*(f"user: {number}" for number in range(2000)))
    async with desk(prompt_tokens=1500) as at:
        await at.write(many)
        asked = at.server.asked[0]["messages"]
        assert MiniLmTokenizer().count(asked[0]["content"] + asked[1]["content"]) <= 1500


HONEST = {
    "billing, paraphrased": (
        talk.BILLING,
        "Billing migration from Stripe to Adyen",
        [
            (
                "The billing service must move from Stripe to Adyen before the end of March; cut-over on 28 March at the latest.",
                ["e1", "e2"],
            ),
            ("Invoice numbering restarts at 2026-0001 instead of keeping the old one.", ["e3", "e4"]),
            ("Adyen sometimes sends webhooks twice, so the handler gets an idempotency key.", ["e5"]),
            ("Marco migrates 4200 open subscriptions next week.", ["e6"]),
            ("Customers from Switzerland keep paying in CHF; Jonas from finance checks the rounding.", ["e7", "e8"]),
        ],
    ),
    "flat, short": (
        talk.FLAT,
        "Flat hunt in Ghent",
        [
            ("User wants a flat in Ghent with 2 bedrooms for up to 1150 euros monthly.", ["e1"]),
            ("Of the three flats found, only Sint-Amandsberg (1,120 euros) has a garden for the dog Bertrand.", ["e2", "e3", "e4"]),
            ("A visit was requested for Saturday at 10:30, since the user can only visit on Saturdays.", ["e5", "e6"]),
        ],
    ),
    "german": (
        talk.GERMAN,
        "Kaputte Heizung in der Werkstatt",
        [
            ("Die Heizung in der Werkstatt ist seit Dienstag kaputt, Vaillant kommt am 3. Februar um 14 Uhr.", ["e1", "e2"]),
            ("Bis dahin werden zwei Elektroheizungen aufgestellt.", ["e3"]),
            ("Die Reparatur kostet etwa 850 Euro; Anna gibt die Rechnung an die Buchhaltung.", ["e4", "e5"]),
        ],
    ),
    "japanese": (
        talk.JAPANESE,
        "来週の会議の変更",
        [
            ("会議は木曜日の午後三時に変更された。", ["e1"]),
            ("場所は大阪支社、議題は新製品の価格と発売日。", ["e2", "e3"]),
        ],
    ),
    "support group": (
        talk.SUPPORT_GROUP,
        "Caroline's support group and career plans",
        [
            ("Caroline attended an LGBTQ support group and was inspired by the transgender stories.", ["e1", "e3"]),
            ("She wants to work in counseling or mental health.", ["e4", "e5"]),
            ("Melanie painted a lake sunrise last year.", ["e6"]),
            ("Caroline is looking into adoption agencies because she dreams of having a family.", ["e7"]),
        ],
    ),
    "incident": (
        talk.INCIDENT,
        "Checkout latency incident and rollback",
        [
            ("Checkout p99 latency rose from 180 ms to 2.4 s at 14:05 UTC.", ["e1"]),
            ("A missing index on orders.customer_id in release v3.18.2 caused it.", ["e2"]),
            ("Lena rolled back to v3.18.1 in six minutes; errors stopped at 14:31.", ["e3"]),
            ("Roughly 1250 payments failed.", ["e4"]),
            ("Deploy pipeline will run EXPLAIN on each new query.", ["e5"]),
        ],
    ),
    "with the day of the events": (
        talk.BILLING,
        "Billing plans of January 30",
        [("On Friday, 30 January 2026, Priya announced that billing moves to Adyen.", ["e1"])],
    ),
    "opening with verbs": (
        talk.BILLING,
        "Planning the move to Adyen",
        [
            ("Discussed the cut-over from Stripe, planned for 28 March at the latest.", ["e2"]),
            ("Agreed to restart invoice numbering at 2026-0001.", ["e3", "e4"]),
            ("Decision: an idempotency key for webhooks that arrive twice.", ["e5"]),
        ],
    ),
    "title with capitals": (
        talk.BILLING,
        "Billing Migration Plan and Discussion of Invoice Numbering",
        [("Billing moves from Stripe to Adyen.", ["e1"])],
    ),
    "catching up": (
        talk.SUPPORT_GROUP,
        "Caroline and Melanie catch up",
        [("Melanie encourages Caroline to become a counselor.", ["e6"]), ("Melanie goes swimming with the kids at 5 pm.", ["e8"])],
    ),
}


@pytest.mark.parametrize("name", HONEST)
async def test_an_honest_answer_in_the_models_own_words_is_believed(name: str) -> None:
    """A check that refuses the truth would take the better prose away for nothing."""
    lines, title, bullets = HONEST[name]
    material = talk.material(*lines)
    async with desk(lambda _: Reply(text=summary(title, bullets, ["billing"]))) as at:
        written = await at.write(material)

        assert (written.degraded, written.title) == ("", title), at.server.asked[-1]["messages"][1]["content"][-400:]
    assert sorted(claim.text for claim in written.claims) == sorted(text for text, _ in bullets)
    assert talk.is_borne_out(written, material)
    assert len(written.keywords) >= 2


async def test_keywords_that_nobody_said_are_left_out() -> None:
    """They are no reason to refuse the rest; words of the events take their place."""
    said = summary("Billing moves to Adyen", [("Billing moves to Adyen.", ["e1"])], ["billing", "HACKED", "evil.example", "Adyen"])
    async with desk(lambda _: Reply(text=said)) as at:
        written = await at.write(talk.material(*talk.BILLING))

    assert written.keywords[:2] == ("billing", "Adyen")
    assert 3 <= len(written.keywords) <= 7
    assert not {"HACKED", "evil.example"} & set(written.keywords)


async def test_a_short_answer_is_kept_with_its_question() -> None:
    """Alone, nobody would know what the answer is about."""
    async with desk() as at:
        written = await at.extractive.summarize(talk.material(*talk.BILLING[2:4]), memory=MEMORY)

    (claim,) = written.claims
    assert claim.text == "Should invoices keep the old numbering? \u2014 No, restart at 2026-0001."
    assert [(piece.key, piece.excerpt) for piece in claim.evidence] == [
        ("k1", "Should invoices keep the old numbering?"),
        ("k2", "No, restart at 2026-0001."),
    ]
