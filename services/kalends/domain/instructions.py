"""Instructions within memory text: telling what was said from what tries to steer whoever reads it.

Belongs here: the phrasings, and what of a text still counts as evidence. Does not belong here: what is done about it (``claims``, and the
summarizers). A newcomer would get wrong: this list is not the protection and never will be complete; a claim must also be borne out by what
it cites. The list only sees to it that an instruction cannot bear out its own fulfilment.
"""

import re
import unicodedata
from collections.abc import Sequence

from kalends.domain import sentences

_ORDERS = (
    (
        r"(?:ignore|disregard|forget(?! to)|override|bypass|discard|set aside)\b.{0,40}"
        r"\b(?:previous|prior|above|earlier|preceding|foregoing|existing|your|all|any|system|these|everything)\b.{0,40}"
        r"\b(?:instructions?|prompts?|rules?|guidelines?|directions?|commands?|context|constraints?|polic(?:y|ies)|said|told|above)\b"
    ),
    (
        r"(?:reveal|print|repeat|show|output|leak|display|write out|quote|disclose|tell me|give me|reproduce)\b.{0,40}"
        r"\b(?:system|hidden|initial|secret|developer|original|your) (?:prompt|instructions?|message|key|password|token)"
    ),
    r"(?:do not|don't|never|stop|instead of|rather than|refuse to) summari[sz]",
    (
        r"(?:when|while|if|before|after|whoever|whatever)\b.{0,40}\b(?:ai|model|llm|you|you're|assistant|agent|bot|reads this)\b"
        r".{0,30}\bsummari[sz]"
    ),
    (
        r"(?:note|message|attention|instructions?|notice|reminder|memo|hint|request)s?[ :,-]+"
        r"(?:to|for|from)? ?(?:the |any |all |every )?"
        r"(?:ai|llm|(?:large )?language model|model(?! \w)|summari[sz]er|summari[sz]ing|summari[sz]ation|automated|reading (?:ai|model))\b"
    ),
    r"(?:dear|hey|hello|hi|listen|attention|ok|okay),? (?:the )?(?:ai|llm|(?:language )?model|summari[sz]er|chatbot|chatgpt|gpt)\b",
    (
        r"(?:new|updated|revised|real|actual|true|additional|special|secret|urgent) (?:system )?"
        r"(?:instructions?|prompt|directives?|orders)\b ?(?:[:=-]|are|is|from|follow)"
    ),
    r"your (?:new|real|actual|true|sole) (?:task|job|goal|instructions?|objective|role|purpose|mission|duty) (?:is|are)\b",
    r"(?:system|developer|admin(?:istrator)?|operator|root) (?:prompt|message|override|instructions?|notice|directive)\b ?[:=\]>-]",
    r"(?:begin|end|start) (?:of )?(?:system|admin|developer) (?:prompt|message|instructions?|notes?|override|block)\b",
    r"(?:begin|end) system\b",
    r"(?:developer|dan|sudo|god|admin|jailbreak|debug|maintenance) mode (?:is )?(?:now )?(?:enabled|activated|on|active|engaged)\b",
    (
        r"you are (?:now )?(?:in )?(?:dan\b|jailbroken|unrestricted|developer mode|free from"
        r"|no longer (?:bound|an? (?:ai|assistant|summari[sz]er)))"
    ),
    # German, French, Spanish and Portuguese, Italian, Dutch, Polish, Turkish
    r"(?:ignorier|vergiss|vergesse|missachte|verwirf|übergeh).{0,60}(?:anweisung|anleitung|vorgabe|regel|befehl|instruktion|prompt)",
    r"fass(?:e|en sie)?\b.{0,60}nicht zusammen",
    (
        r"(?:ignor|oubli|ne tiens pas compte|ne tenez pas compte|fais abstraction|faites abstraction).{0,60}"
        r"(?:instruction|consigne|règle|directive)"
    ),
    r"(?:ne résume[rz]? pas|no resumas|no resuma\b|não resum|non riassum|vat .{0,40}niet samen)",
    (
        r"(?:ignor|olvid|omit|descart|haz caso omiso|desconsider|esqueç|esquec).{0,60}"
        r"(?:instrucci|indicaci|regla|orden|órden|instruç|regra|ordem)"
    ),
    r"(?:ignor|dimentic|trascur).{0,60}(?:istruzion|regol|indicazion|comand)",
    r"(?:negeer|vergeet).{0,60}(?:instructie|aanwijzing|regels|opdracht)",
    r"(?:zignoruj|zapomnij|pomiń).{0,60}(?:instrukcj|polece|zasad)",
    r"(?:talimat|komut|kural).{0,60}(?:yok ?say|unut|görmezden)",
    # Russian, Arabic, Hindi
    (
        r"(?:\u0438\u0433\u043d\u043e\u0440\u0438\u0440|\u0437\u0430\u0431\u0443\u0434"
        r"|\u043d\u0435 \u043e\u0431\u0440\u0430\u0449\u0430\u0439).{0,60}"
        r"(?:\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446|\u0443\u043a\u0430\u0437\u0430\u043d|\u043f\u0440\u0430\u0432\u0438\u043b)"
    ),
    r"(?:تجاهل|انس).{0,60}(?:تعليمات|أوامر)",
    r"निर्देश.{0,40}(?:अनदेखा|अनदेखी|भूल)",
)
"""A text with one of these is no evidence at all; each begins where a word does. They are matched against folded text, see ``_folded``."""

_MARKS_OF_ORDERS = (
    (
        r"[-=#<*\[]{2,} ?(?:end|begin|start) (?:of )?(?:the )?"
        r"(?:conversation|transcript|data|input|events?|document|context|prompt|text|memory|system)"
    ),
    r"<\|[a-z_ ]{2,30}\|>|\[/?inst\]|<</?sys>>|</?(?:system|assistant|instructions?|user|prompt)>|<(?:start|end)_of_turn>",
    r'"bullets" ?:|"cites" ?:|"title" ?:.{0,200}"keywords" ?:',
    # Chinese, Japanese, Korean
    r"(?:忽略|无视|無視|忘记|忘記|不要理会).{0,20}(?:指令|指示|提示|说明|說明|规则|規則)",
    r"(?:不要|请勿|别)(?:总结|摘要|概括)",
    r"(?:指示|命令|ルール|プロンプト|指令).{0,20}(?:無視|忘れ)",
    r"要約(?:しない|せず|するな)",
    r"(?:지시|명령|지침|규칙).{0,20}(?:무시|잊)",
)
"""The same, wherever they stand."""

_NUDGES = (
    r"(?:respond|reply|answer|output) (?:only|just|exactly|nothing but|verbatim)\b",
    r"(?:return|print|write|say|state|conclude) (?:only|just|exactly|nothing but|verbatim)(?: (?:the|this|that|these|one)\b| ?[:\"'])",
    r"only (?:respond|reply|output|return|print)\b",
    r"(?:respond|reply|answer|output) with (?:only|just|exactly|the (?:following|word|phrase|text|sentence)|[\"'])",
    r"you are now (?:a|an|the|my|called|acting)\b|from now on,? you\b|pretend (?:to be|you are|that you)\b",
    r"(?:want you to|you (?:must|should|will|shall)|you need to) (?:act|behave) as\b",
    r"as an? (?:ai|llm|language model|summari[sz]er)\b,? ?(?:language model|model|assistant)?,? ?(?:you|your|it is your)\b",
    r"system prompts?\b|prompt injection\b|jailbreak",
    (
        r"(?:the|your|this|any|every|each|all) (?:summar(?:y|ies)|bullets?|title) "
        r"(?:must|should|shall|has to|have to|needs? to|is to|will|may|can)\b"
    ),
    (
        r"(?:include|insert|add|append|put|mention|write|say|use|place)\b.{0,80}\b(?:in|into|to|as|of) "
        r"(?:the|your|this|any|every|each|all) (?:summar(?:y|ies)|bullets?|title|output)\b"
    ),
    (
        r"(?:in|for|of) (?:the|your|any|every|each|all) (?:summar(?:y|ies)|bullets?)\b,? ?"
        r"(?:only|just|say|write|include|mention|state|you|put|claim)"
    ),
    r"summari[sz]e (?:this|it|the (?:above|conversation|text|events?|chat)|everything|all)?.{0,20}\b(?:as|with|by saying|to say)\b",
    r"summari[sz](?:er|ers|ation model|ing model)s?\b.{0,40}\b(?:must|should|shall|has to|have to|needs? to|only|will|are required)\b",
    r"du bist (?:jetzt|nun|ab sofort)|antworte? (?:nur|ausschließlich)|in (?:die|der|deine[r]?) zusammenfassung",
    r"(?:tu es|vous êtes) (?:maintenant|désormais)|répond\w{0,3} (?:uniquement|seulement)|dans (?:le|ton|votre) résumé",
    r"ahora eres|responde\w? (?:solo|sólo|únicamente|solamente)|en (?:el|tu) resumen|agora você é|responda (?:só|apenas|somente)",
    r"ora sei (?:un|una|il|la)\b|rispondi (?:solo|soltanto)|nel(?: tuo)? riassunto|je bent nu|antwoord alleen|in (?:de|je) samenvatting",
    r"\u0442\u044b \u0442\u0435\u043f\u0435\u0440\u044c",
    r"(?:\u043e\u0442\u0432\u0435\u0447\u0430\u0439|\u043e\u0442\u0432\u0435\u0442\u044c) \u0442\u043e\u043b\u044c\u043a\u043e",
)
"""What honest people say too, from a word's beginning; such a sentence and what follows it are no evidence, what stands before it is."""

_MARKS_OF_NUDGES = (
    r"^(?:#+ ?)?(?:system|developer) ?:|^(?:please |now )?(?:act|behave) as\b",
    r"你现在是|只(?:回复|回答|输出)|在摘要中|在总结中",
    r"あなたは(?:今|これから)|だけ(?:を)?(?:出力|答え|返)|要約には",
)

_ORDER = re.compile(rf"\b(?:{'|'.join(_ORDERS)})|{'|'.join(_MARKS_OF_ORDERS)}")
_NUDGE = re.compile(rf"\b(?:{'|'.join(_NUDGES)})|{'|'.join(_MARKS_OF_NUDGES)}")

_HINTED = (
    'instruct,prompt,inst],<|,<<,</,_of_turn,system,developer,assistant:,override,bullet,"cites",keywords,title,summar,respond,reply,'
    "answer,output,return,print,write,say ,state,conclude,you are,from now,act as,behave as,pretend,ignor,disregard,forget,bypass,discard,"
    "set aside,reveal,repeat,leak,disclos,your new,your real,your actual,your true,your sole,mode , ai,"
    "llm,model,gpt,chatbot,end of,start of,as an,jailbreak,"
    "verg,miss,verwirf,übergeh,zusammen,oubli,tiens,tenez,abstraction,résum,resum,riassu,olvid,omit,descart,caso omiso,desconsider,esque,"
    "dimentic,trascur,negeer,samen,zapomnij,pomiń,talimat,komut,kural,du bist,antwor,tu es,vous ,répond,ahora,agora,ora sei,rispond,bent nu"
)
_HINTS = tuple(_HINTED.split(","))
"""Every pattern in Latin letters needs one of these; looking for them first is several times as fast."""

_OTHER_SCRIPTS = re.compile(r"[\u0400-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]+"
)
_SPELLED = re.compile(r"\b(?:\w[ ._-]){4,}\w\b")
_BLANKS = re.compile(r"[\s*_`]+")


def steers(text: str) -> bool:
    """Whether *text* gives orders to whoever summarizes it, so that nothing of it is evidence."""
    folded = _folded(text)
    return _may_match(folded) and _ORDER.search(folded) is not None


def countable(text: str) -> str:
    """The beginning of *text* that is evidence: all of it, nothing, or what stands before a sentence that addresses its reader's output."""
    folded = _folded(text)
    if not _may_match(folded):
        return text
    if _ORDER.search(folded):
        return ""
    if not _NUDGE.search(folded):
        return text
    return _before_the_nudge(text, sentences.split(text))


def _before_the_nudge(text: str, pieces: Sequence[sentences.Sentence]) -> str:
    for piece in pieces:
        if _NUDGE.search(_folded(piece.text)):
            return text[: piece.start]
    # it spans sentences: no telling where it begins
    return ""


def _may_match(folded: str) -> bool:
    return any(hint in folded for hint in _HINTS) or (not folded.isascii() and _OTHER_SCRIPTS.search(folded) is not None)


def _folded(text: str) -> str:
    """*text* in lower case, without what hides words from patterns: wide letters, invisible signs, emphasis, letters spelled one by one."""
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    lower = _BLANKS.sub(" ", text.lower())
    return _SPELLED.sub(lambda found: re.sub(r"[ ._-]", "", found.group()), lower)
