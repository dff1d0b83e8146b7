"""The table of terms, and how a message is counted by it."""

import re

import pytest

from echomox.filter import lexicon
from echomox.filter.features import read as features_of
from echomox.reservoir.affect import KINDS
from tests.unit.filter.test_tokens import NASTY, mail


def read(body="", subject="", kind="text/plain"):
    return lexicon.read(features_of(mail(*([f"Subject: {subject}"] if subject else []), body=body, kind=kind)))


def found(body, **more):
    """(kind, term, weight) of what matches"""
    return [(KINDS[m.kind], m.term, m.weight) for m in read(body, **more).matches]


# -- the table -----------------------------------------------------------------

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "ru", "ja", "zh")
ROWS = [row.split("\t") for row in lexicon.DATA.read_text(encoding="utf-8").splitlines() if row and row[0] != "#"]


def test_every_language_has_every_kind():
    assert sorted({row[0] for row in ROWS}) == sorted(LANGUAGES)
    for language in LANGUAGES:
        kinds = {row[1] for row in ROWS if row[0] == language}
        assert kinds >= set(KINDS)
        if language not in ("ja", "zh"):
            assert kinds >= {"not", "more", "less"}


def test_each_row_is_well_formed():
    for language, kind, weight, terms in ROWS:
        assert 0.0 < float(weight) <= 1.0, (language, kind)
        for term in terms.split():
            forms = lexicon.spelled(term)
            assert len(set(forms)) == len(forms), term
            assert all(form and form == form.lower() and not re.search(r"[\[\],_]", form) for form in forms), term


@pytest.mark.parametrize(
    "written, expected",
    [
        ("joy", ["joy"]),
        ("act_now", ["act now"]),
        ("happ[y,ily]", ["happy", "happily"]),
        ("sad[,der]", ["sad", "sadder"]),
        ("time[,s]_up", ["time up", "times up"]),
        ("a[b,c]d[e,f]", ["abde", "abdf", "acde", "acdf"]),
    ],
)
def test_forms_are_spelled_out(written, expected):
    assert lexicon.spelled(written) == expected


@pytest.mark.parametrize("line", ["en\tjoy\t1", "en\tjoy\tmuch\tglad", "en\tlove\t1\tglad"])
def test_a_bad_line_is_named(line):
    with pytest.raises(ValueError, match=r"affect\.tsv:2: "):
        lexicon.load(f"# head\n{line}\n")


# -- matching ------------------------------------------------------------------


def test_terms_phrases_and_their_weights():
    assert found("We are happy. Act now, before midnight.") == [
        ("joy", "happy", 1.0),
        ("pressure", "act now", 1.0),
        ("ask", "act now", 1.0),
    ]


def test_the_subject_counts_twice_and_hidden_text_not_at_all():
    page = "<p>A quiet page of words.</p><p style='display:none'>happy happy angry</p>"
    assert found(page, subject="Urgent", kind="text/html") == [("pressure", "urgent", 2.0)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("very happy", [("joy", "happy", 1.5)]),
        ("slightly angry", [("anger", "angry", 0.5)]),
        ("never angry", []),
        ("not a danger", []),
        ("not happy", [("sadness", "not happy", 0.5)]),
        ("not very happy", [("sadness", "not happy", 0.75)]),
        ("no it is so sad", [("sadness", "sad", 1.5)]),
        ("sehr traurig", [("sadness", "traurig", 1.5)]),
        ("keine Angst", []),
        ("no feliz", [("sadness", "not feliz", 0.5)]),
        ("très triste", [("sadness", "triste", 1.5)]),
        ("sehr triste", [("sadness", "triste", 1.0)]),
        ("don't miss this", [("pressure", "don't miss", 1.0)]),
        ("don\u2019t miss this", [("pressure", "don't miss", 1.0)]),
        ("URGENT!!! Congratulations!", [("pressure", "urgent", 1.0), ("joy", "congratulations", 1.0)]),
        ("de l'intérêt", [("interest", "intérêt", 1.0)]),
    ],
)
def test_what_stands_before_a_term_changes_it(text, expected):
    assert found(text) == expected


def test_terms_without_spaces_are_found_within_a_run():
    assert found("これは期間限定です。") == [("pressure", "期間限定", 1.0)]
    assert found("请立即点击这里") == [("pressure", "立即", 1.0), ("ask", "点击", 1.0)]


def test_reading_stops():
    far = "word " * lexicon.WORDS + "happy"
    assert found(far) == []
    many = read("happy " * 5000)
    assert many.counts.words == lexicon.WORDS
    assert len(many.matches) <= lexicon.MOST_MATCHES + 1


def test_terms_are_given_by_kind_heaviest_first():
    reading = read("good luck, a danger, a warning, a danger, happy")
    assert reading.by_kind() == {"joy": ("happy",), "fear": ("danger", "warning")}


def test_counts_of_a_text():
    counts = read("One two three four. Five six? One two!", subject="A b").counts
    assert (counts.words, counts.sample, counts.distinct, counts.questions) == (10, 8, 6, 1)
    assert counts.word_length == pytest.approx(28 / 8)
    assert 1.0 < counts.sentence < 6.0


@pytest.mark.parametrize("data", NASTY)
def test_nothing_breaks_it_and_it_is_the_same_twice(data):
    one = lexicon.read(features_of(data))
    assert all(weight >= 0.0 for weight in one.counts.terms)
    assert lexicon.read(features_of(data)) == one


# -- each emotion in each language ---------------------------------------------

SAMPLES = {
    "en": {
        "joy": "We are so happy, it was a wonderful day full of joy",
        "sadness": "Her death left us in grief, and the children weep",
        "anger": "I am furious about this outrageous insult",
        "fear": "I was terrified, it was a dangerous threat",
        "disgust": "The smell was disgusting and the kitchen filthy",
        "interest": "A fascinating story, I am curious to discover more",
        "surprise": "It came suddenly, I was astonished and surprised",
        "pressure": "Urgent: final notice, respond immediately",
    },
    "de": {
        "joy": "Ich bin so glücklich und freue mich, ein wunderbarer Tag",
        "sadness": "Wir trauern mit Tränen und sind sehr traurig",
        "anger": "Ich bin wütend über diese Frechheit",
        "fear": "Ich habe Angst, es besteht große Gefahr",
        "disgust": "Der Gestank war widerlich und ekelhaft",
        "interest": "Eine spannende Frage, ich bin neugierig und interessiert",
        "surprise": "Plötzlich stand er da, ich war völlig überrascht und erstaunt",
        "pressure": "Dringend: letzte Mahnung, zahlen Sie sofort",
    },
    "fr": {
        "joy": "Nous sommes heureux, quelle joie et quel bonheur",
        "sadness": "Je suis triste et je pleure, quel chagrin",
        "anger": "Je suis furieux, votre colère est un scandale et une insulte",
        "fear": "J'ai peur, le danger est une menace",
        "disgust": "Cette odeur est dégoûtante, tout est pourri",
        "interest": "Une histoire passionnante, je suis curieux et intéressé",
        "surprise": "Quelle surprise, c'est incroyable et inattendu",
        "pressure": "Urgent : dernier rappel, agissez immédiatement",
    },
    "es": {
        "joy": "Estamos felices y encantados, qué alegría",
        "sadness": "Estoy triste y lloro, qué tragedia",
        "anger": "Estoy furioso, es un insulto y tengo rabia",
        "fear": "Tengo miedo, hay peligro y amenaza",
        "disgust": "Qué asco, está podrido y es repugnante",
        "interest": "Una historia fascinante, tengo curiosidad e interés",
        "surprise": "Qué sorpresa, es increíble e inesperado",
        "pressure": "Urgente: último aviso, actúe inmediatamente",
    },
    "it": {
        "joy": "Siamo felici, che gioia e che giornata meravigliosa",
        "sadness": "Sono triste e piango, che tragedia",
        "anger": "Sono furioso e arrabbiato per questo insulto",
        "fear": "Ho paura, c'è pericolo e una minaccia",
        "disgust": "Che schifo, è marcio e disgustoso",
        "interest": "Una storia affascinante, sono curioso e interessato",
        "surprise": "Che sorpresa, è incredibile e inaspettato",
        "pressure": "Urgente: ultimo avviso, rispondete immediatamente",
    },
    "pt": {
        "joy": "Estamos felizes, que alegria, um dia maravilhoso",
        "sadness": "Estou triste e choro, que tragédia",
        "anger": "Estou furioso e zangado com este insulto",
        "fear": "Tenho medo, há perigo e ameaça",
        "disgust": "Que nojo, está podre e é repugnante",
        "interest": "Uma história fascinante, tenho curiosidade e interesse",
        "surprise": "Que surpresa, é incrível e inesperado",
        "pressure": "Urgente: último aviso, responda imediatamente",
    },
    "nl": {
        "joy": "Wij zijn gelukkig en blij, een prachtige dag",
        "sadness": "Ik ben verdrietig en heb tranen, zo treurig",
        "anger": "Ik ben woedend en boos over deze belediging",
        "fear": "Ik ben bang, er is gevaar en dreiging",
        "disgust": "De stank was walgelijk en smerig",
        "interest": "Een boeiend verhaal, ik ben nieuwsgierig en geïnteresseerd",
        "surprise": "Plotseling stond hij daar, ik was verbaasd en verrast",
        "pressure": "Dringend: laatste waarschuwing, betaal onmiddellijk",
    },
    "ru": {
        "joy": "Мы счастливы и рады, какая радость",
        "sadness": "Мне грустно, слезы и печаль",
        "anger": "Я в ярости, это возмущение и гнев",
        "fear": "Мне страшно, опасность и угроза",
        "disgust": "Какая гадость, отвращение и вонь",
        "interest": "Интересная история, мне любопытно",
        "surprise": "Неожиданно и внезапно, я удивлен",
        "pressure": "Срочно: последнее предупреждение, ответьте немедленно",
    },
    "ja": {
        "joy": "とても嬉しいです。幸せな一日でした",
        "sadness": "とても悲しい気持ちで、涙が出ます",
        "anger": "激怒しています。怒りが収まりません",
        "fear": "恐怖を感じました。とても危険です",
        "disgust": "気持ち悪い臭いで吐き気がします",
        "interest": "興味があります。面白い話です",
        "surprise": "びっくりしました。突然の驚きです",
        "pressure": "至急ご対応ください。本日限りです",
    },
    "zh": {
        "joy": "我们非常高兴和快乐",
        "sadness": "我很悲伤，也很难过",
        "anger": "他非常愤怒，很生气",
        "fear": "我很害怕，这里有危险",
        "disgust": "真恶心，令人厌恶",
        "interest": "我对此很感兴趣，也很好奇",
        "surprise": "真令人惊讶，太震惊了",
        "pressure": "紧急通知，请立即处理",
    },
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [*KINDS[:7], "pressure"])
def test_each_emotion_is_raised_by_a_sample_in_each_language(language, kind):
    terms = dict(zip(KINDS, read(SAMPLES[language][kind]).counts.terms))
    assert terms[kind] >= 1.0
    others = [terms[name] for name in KINDS[:7] if name != kind]
    assert terms[kind] > max(others)
