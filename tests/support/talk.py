"""Conversations to summarize.

Belongs here: materials for tests of summarizers. Does not belong here: what is said against a summarizer (``attacks``). A newcomer would
get wrong: a material's passages have keys of their own; the references e1, e2 of a chat model are made from their order.
"""

from datetime import UTC, date, datetime, timedelta

from kalends.domain.calendar import Material, Passage, Summary
from kalends.domain.events import microseconds
from kalends.domain.periods import Level, Period

STARTED = datetime(2026, 1, 30, 9, 0, tzinfo=UTC)


def passages(*lines: str) -> tuple[Passage, ...]:
    """Passages of lines such as ``Anna: the text``, a minute apart."""
    made = []
    for minute, line in enumerate(lines):
        speaker, _, text = line.partition(": ")
        when = microseconds(STARTED + timedelta(minutes=minute))
        made.append(Passage(key=f"k{minute + 1}", speaker=speaker, text=text, occurred_us=when))
    return tuple(made)


def material(*lines: str, level: Level = "segment") -> Material:
    """A material of such lines."""
    period = Period("segment", date(2026, 1, 30), "0" * 16) if level == "segment" else Period(level, date(2026, 1, 26))
    return Material(period=period, passages=passages(*lines))


def is_borne_out(summary: Summary, by: Material) -> bool:
    """Whether every piece of evidence is an excerpt of the text of a passage, and every claim has one."""
    texts = {passage.key: passage.text for passage in by.passages}
    evidence = [piece for claim in summary.claims for piece in claim.evidence]
    return all(claim.evidence for claim in summary.claims) and all(
        piece.excerpt and len(piece.excerpt) <= 300 and piece.excerpt in texts[piece.key] for piece in evidence
    )


BILLING = (
    "Priya: We have to move the billing service from Stripe to Adyen before the end of March.",
    "Marco: The contract with Stripe ends on 31 March, so the cut-over has to happen on 28 March at the latest.",
    "Priya: Should invoices keep the old numbering?",
    "Marco: No, restart at 2026-0001.",
    "Priya: Webhooks from Adyen arrive twice sometimes, so the handler needs an idempotency key.",
    "Marco: I will write the migration for the 4,200 open subscriptions next week.",
    "Priya: Customers in Switzerland must go on paying in CHF.",
    "Marco: Fine, then I add CHF to the price list and ask Jonas from finance to check the rounding.",
)

FLAT = (
    "user: I am looking for a flat in Ghent with two bedrooms, at most 1,150 euros a month.",
    "assistant: I found three: Brugse Poort for 980 euros, Ledeberg for 1,090 euros and Sint-Amandsberg for 1,120 euros.",
    "user: I have a dog called Bertrand, so a garden would help.",
    "assistant: Only Sint-Amandsberg has a garden. The landlord, Mrs. De Vos, allows pets.",
    "user: Put that one first. I can only visit on Saturdays.",
    "assistant: I asked for a visit on Saturday at 10:30.",
)

GERMAN = (
    "Anna: Die Heizung in der Werkstatt ist seit Dienstag kaputt.",
    "Bernd: Der Monteur von Vaillant kommt am 3. Februar um 14 Uhr.",
    "Anna: Bis dahin stellen wir zwei Elektroheizungen auf.",
    "Bernd: Die Reparatur kostet ungefähr 850 Euro, das Angebot liegt bei.",
    "Anna: Gut, ich gebe die Rechnung an die Buchhaltung weiter.",
)

JAPANESE = (
    "田中: 来週の会議は木曜日の午後三時に変更されました。",
    "鈴木: 場所は大阪支社の第二会議室です。",
    "田中: 議題は新製品の価格と発売日です。",
    "鈴木: 資料は水曜日までに送ります。",
)

SUPPORT_GROUP = (
    "Caroline: I went to a LGBTQ support group yesterday and it was so powerful.",
    "Melanie: Wow, that's cool, Caroline! What happened that was so awesome?",
    "Caroline: The transgender stories were so inspiring! I was so happy and thankful for all the support.",
    "Melanie: What are your plans now?",
    "Caroline: I'm keen on counseling or working in mental health, I'd love to support those with similar issues.",
    "Melanie: You'd be a great counselor! By the way, I painted that lake sunrise last year.",
    "Caroline: Researching adoption agencies too, it has been a dream to have a family.",
    "Melanie: I'm off to swim with the kids at 5pm. Talk to you soon!",
)

INCIDENT = (
    "oncall: Checkout latency p99 went from 180 ms to 2.4 s at 14:05 UTC.",
    "oncall: The cause is a missing index on orders.customer_id after release v3.18.2.",
    "lena: Rolling back to v3.18.1 took 6 minutes, errors are gone since 14:31.",
    "oncall: About 1,250 payments failed; support has the list.",
    "lena: I'll add a check to the deploy pipeline so that EXPLAIN runs on every new query.",
)
