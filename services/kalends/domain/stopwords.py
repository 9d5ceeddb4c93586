"""Words that say little of what a text is about: the glue of sentences, small talk, and verbs that every story has.

Belongs here: the lists, and splitting a text into words for them. Does not belong here: the words of a question (``terms``, a shorter list
that search was measured with). A newcomer would get wrong: a word that is missing here spoils a title, a word that is here too much only
makes it plainer; texts without blanks between words have no words here but pairs of neighbouring signs.
"""

import re

from kalends.domain.terms import FUNCTION_WORDS

_PRONOUNS = (
    "i me my mine myself you your yours yourself we us our ours ourselves he him his himself she her herself they them themselves one "
    "ones someone somebody anyone anybody everyone everybody nobody something anything everything nothing none each every either "
    "neither another other others whoever whatever whichever whether although though unless until since upon within without across "
    "among amongst via per plus minus versus despite during toward towards onto off along around behind beyond beside besides between "
    "below above under against not never no nor yes"
)
_SMALL_TALK = (
    "yeah yep yup nope nah ok okay oh ah wow hey hi hello bye goodbye cheers thanks thank thx please pls sorry sure glad happy haha "
    "hahaha lol hmm um uh huh ooh aww aw yay welcome congrats congratulations greetings dear mate buddy guys folks gosh geez woah "
    "whoa anyway good great nice cool awesome amazing lovely wonderful fantastic incredible awful terrible super excellent brilliant "
    "perfect neat sweet absolutely definitely totally certainly exactly indeed really actually basically literally seriously honestly "
    "obviously probably maybe perhaps possibly hopefully luckily thankfully unfortunately surely truly simply especially particularly "
    "mostly mainly generally usually normally typically finally eventually currently recently lately nearly almost barely quite "
    "rather pretty fairly well even still yet already again ever always often sometimes occasionally rarely soon later now then here "
    "there today tonight tomorrow yesterday however therefore moreover furthermore additionally meanwhile otherwise instead thus "
    "hence besides else too"
)
_PLAIN_VERBS = (
    "get gets got gotten getting go goes going gone went come comes came coming make makes made making take takes took taken taking "
    "know knows knew known knowing think thinks thought thinking feel feels felt feeling look looks looked looking see sees saw seen "
    "seeing say says said saying tell tells told telling ask asks asked asking talk talks talked talking speak speaks spoke speaking "
    "hear hears heard hearing want wants wanted wanting need needs needed needing like likes liked liking love loves loved loving "
    "enjoy enjoys enjoyed enjoying hope hopes hoped hoping wish wishes try tries tried trying start starts started starting begin "
    "begins began beginning keep keeps kept keeping help helps helped helping give gives gave given giving find finds found finding "
    "let lets put puts putting use uses used using work works worked working mean means meant seem seems seemed become becomes became "
    "becoming share shares shared sharing bring brings brought bringing show shows showed shown showing remember remembers remembered "
    "remind reminds reminded wonder wondering believe believes guess bet stay stays stayed leave leaves left happen happens happened "
    "happening inspire inspires inspired inspiring excite excited exciting care cares set sets setting turn turns turned turning add "
    "adds added adding change changes changed changing include includes included including provide provides provided providing ensure "
    "ensures consider considering create creates created creating follow follows following allow allows allowed allowing offer offers "
    "offered offering recommend recommends recommended suggest suggests suggested explore exploring check checks checked checking "
    "call calls called calling run runs ran wait waiting waited plan plans planned planning decide decided deciding agree agreed meet "
    "meets met meeting live lives lived living play plays played learn learns learned learning read reads send sends sent sending "
    "spend spends spent spending buy buys bought buying pay pays paid might may must shall cannot able unable let's gonna wanna gotta "
    "has had having been being am is are was were be do does did done understand understands understood appreciate appreciates "
    "appreciated hit hits hitting pick picks picked picking reach reached join joined joining sound sounds sounded sounding deal "
    "dealing grow growing grew face faced facing push pushing build building built hang hanging hung catch caught catching move moved "
    "moving stop stopped lose lost miss missed win won figure figured figuring cause written write writes wrote writing visit visits "
    "visited visiting attend attends attended attending tackle mix layer experiment serve serves served staying gather gathering "
    "motivate motivates motivated motivating succeed succeeds invite invites invited searching search choose chose choosing chosen "
    "teach teaches taught drive drives drove affect affects require requires encourage encourages encouraged improve improves "
    "improving hold holds held express expressing chat chatting chatted surprise surprised support supportive manage managed forget "
    "forgot walk walked end ended wear"
)
_PLAIN_REST = (
    "thing things stuff lot lots bit few many much several some any all both half way ways kind kinds sort sorts type types part "
    "parts piece pieces place places person people man woman day days week weeks weekend month months year years time times hour "
    "hours minute minutes moment moments morning afternoon evening night life world chance point points fact case reason reasons idea "
    "ideas example examples question questions answer answers option options step steps tip tips list information details info number "
    "numbers important special new old big huge small little tiny long short high low first second third last next best better worse "
    "worst right wrong different same similar ready hard easy tough fun funny interesting quick quickly slow slowly real true false "
    "possible certain particular specific general various overall additional available whole full main major favorite favourite top "
    "beautiful gorgeous proud grateful thankful cute stunning key common useful helpful great deep close far near late early free "
    "busy alone together away back forward ahead more less least enough such only just also very so once twice down up out over two "
    "three four five six seven eight nine ten hundred monday tuesday wednesday thursday friday saturday sunday january february march "
    "april june july august september october november december ago yours its it's feel based depending due sake journey experience "
    "experiences feeling feelings thought thoughts look start end side rest change difference amount level area areas item items note "
    "notes am pm etc eg ie vs http https www com org photo photos pic pics picture pictures image images memory memories vibe vibes "
    "impact progress success sense tons ton fan word words conversation talk passion passionate positive strong strength stronger hey "
    "bunch couple past future recent cozy crazy hi vital essential"
)
_OTHER_LANGUAGES = (
    # German
    "der die das den dem des ein eine einen einem einer eines und oder aber doch nicht kein keine ich du er sie es wir ihr mich dich "
    "mir dir uns euch ihm ihn ihnen sich mein meine dein deine sein seine unser ihre zu zum zur von vom mit bei nach aus auf an in im "
    "am um über unter vor für durch gegen ohne bis seit als wie wenn weil dass ob ist sind waren bin bist habe haben hatte wird "
    "werden wurde kann können muss müssen soll sollen will wollen möchte auch noch schon nur sehr so da dann hier dort jetzt heute "
    "morgen gestern mal ja nein bitte danke hallo gut was wer wo wann warum diese dieser dieses mehr man gerne einfach ganz "
    # French
    "le la les l un une des du de d et ou mais ne pas plus je tu il elle nous vous ils elles on me te se lui leur mon ma mes ton ta "
    "tes sa ses notre nos votre vos ce cet cette ces qui que quoi dont où quand comment pourquoi à au aux en dans par pour sur sous "
    "avec sans chez est sont était suis es sommes êtes ai as avons avez ont avait fait faire va aller peut très bien aussi alors donc "
    "si oui non merci bonjour salut j c n s qu m t ça cela tout tous toute "
    # Spanish, Portuguese, Italian
    "el los las unos unas y o pero no ni yo tú ella nosotros ustedes ellos mi mis tu tus su sus nuestro lo se le que qué quien cuando "
    "donde como cómo por para con sobre entre desde hasta es son fue ser estar está están estoy he ha han tengo tiene muy más también "
    "ya sí gracias hola del al esto esta este eso os as um uma uns e ou mas não eu você ele ela nós eles meu minha seu sua do da dos "
    "das na nos nas ao com sem porém é são foi tem muito mais também já sim obrigado olá il gli i uno ed ma non io lui lei noi voi "
    "loro mio mia suo di della dei delle dal nel nella per tra fra che chi cui quando dove perché sono sei siamo ho hai abbiamo hanno "
    "molto più anche già sì grazie ciao questo questa quello come cosa "
    # Dutch
    "het een en of maar niet geen ik jij je hij zij ze wij we jullie mij hem haar hen mijn jouw zijn onze te van met bij naar uit op "
    "aan om voor door tegen tot als dan dat dit deze die is was waren ben bent heeft heb hebben had wordt worden kan moet zal wil ook "
    "nog al alleen zeer zo er daar hier nu vandaag gisteren nee dank hoi goed wat wie waar wanneer waarom "
    # Russian
    "\u0438 \u0432 \u043d\u0435 \u043d\u0430 \u044f \u043c\u044b \u0442\u044b \u0432\u044b \u043e\u043d \u043e\u043d\u0430 "
    "\u043e\u043d\u0438 \u0447\u0442\u043e \u043a\u0430\u043a \u044d\u0442\u043e \u0441 \u043f\u043e \u043d\u043e \u0430 \u0437\u0430 "
    "\u0443 \u043a \u043e \u0438\u0437 \u043e\u0442 \u0434\u043e \u0434\u043b\u044f \u0436\u0435 \u0431\u044b \u043b\u0438 "
    "\u0434\u0430 \u043d\u0435\u0442 \u0442\u0430\u043a \u0432\u0441\u0435 \u0443\u0436\u0435 \u0435\u0449\u0435 "
    "\u0442\u043e\u043b\u044c\u043a\u043e \u0431\u044b\u043b \u0431\u044b\u043b\u0430 \u0431\u044b\u043b\u043e "
    "\u0431\u044b\u043b\u0438 \u043c\u043d\u0435 \u043c\u0435\u043d\u044f"
)

GLUE = FUNCTION_WORDS | frozenset(_PRONOUNS.split()) | frozenset(_OTHER_LANGUAGES.split())
"""Words that only hold others together."""

PLAIN = GLUE | frozenset(_SMALL_TALK.split()) | frozenset(_PLAIN_VERBS.split()) | frozenset(_PLAIN_REST.split())
"""Those, small talk, and words that fit any story."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019.\-][^\W_]+)*")
_SHORTENED = ("n't", "n\u2019t", "'m", "\u2019m", "'re", "\u2019re", "'ve", "\u2019ve", "'ll", "\u2019ll", "'d", "\u2019d")
_OWNING = ("'s", "\u2019s")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")


def spans(text: str) -> list[tuple[int, int]]:
    """Where the words of *text* stand; inner apostrophes, hyphens and dots belong to a word."""
    return [found.span() for found in _WORD.finditer(text)]


def plain_form(word: str) -> str:
    """*word* lower-cased, without the ending of an owner."""
    lower = word.lower()
    return lower[:-2] if lower.endswith(_OWNING) else lower


def is_plain(lower: str) -> bool:
    """Whether a word in its plain form says little; shortened verbs (isn't, we're) always do."""
    return lower in PLAIN or lower.endswith(_SHORTENED)


def meaningful(text: str, *, without: frozenset[str] = PLAIN) -> list[str]:
    """The words of *text* in their plain form but for those in *without*, in order; neighbouring signs where no blanks part words."""
    found = []
    for word in _WORD.findall(text):
        lower = plain_form(word)
        if lower in without or lower.endswith(_SHORTENED):
            continue
        if not lower.isascii() and _UNSPACED.search(lower):
            found += [pair for pair in _pairs(lower) if pair not in without]
        else:
            found.append(lower)
    return found


def is_unspaced(text: str) -> bool:
    """Whether most of the letters of *text* are of scripts that put no blanks between words."""
    signs = sum(found.end() - found.start() for found in _UNSPACED.finditer(text))
    return signs * 2 > sum(map(str.isalnum, text))


def _pairs(run: str) -> list[str]:
    """A run's neighbouring signs in pairs; parts of it in other scripts stay whole."""
    pairs = []
    end = 0
    for found in _UNSPACED.finditer(run):
        if run[end : found.start()]:
            pairs.append(run[end : found.start()])
        end = found.end()
        signs = found.group()
        pairs += [signs[index : index + 2] for index in range(max(1, len(signs) - 1))]
    return [*pairs, run[end:]] if run[end:] else pairs
