"""The phrases by which an answer is read from a text: one table of patterns for `parse`."""

import re


def _any_case(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


SYNONYMS = dict.fromkeys(("yes", "yeah", "yep", "yup"), "yes")
SYNONYMS |= dict.fromkeys(("no", "nope", "nah"), "no")

_NAMES = r"think|thinking|thought|reasoning|reflection|scratchpad|seed:think"
REASONING_OPENS = rf"(?:<(?:{_NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>)"
REASONING_CLOSES = rf"(?:</(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>)"
FINAL_CHANNEL = re.compile(r"<\|channel\|>final<\|message\|>")

ABSTAINS = _any_case(
    r"\b(?:can(?:no|')t be (?:determined|known|said|inferred|answered)"
    r"|cannot be (?:determined|known|said|inferred|answered)"
    r"|(?:not|n't) (?:be )?(?:possible|enough|sufficient|stated|specified|clear from)"
    r"|insufficient|impossible to|no way (?:to|of)|unable to (?:determine|tell|say|know|conclude)"
    r"|(?:i|we) (?:do not|don't|cannot|can't|could not|couldn't)(?: \w+)? "
    r"(?:know|say|tell|determine|conclude|decide|be sure|be certain)"
    r"|not (?:sure|certain)|undetermined|unknown|unclear|uncertain|unsure|depends"
    r"|neither|n/a)(?!\w)",
)
#: Stands between a leading answer and the statement that it judges.
JUDGES = r"(?i:it(?:'s|\s+is|\s+was)?(?:n't|\s+not)?\s+(?:true|correct|right|the case)\s+that\b)"
REFUSES = _any_case(
    r"\b(?:i(?:'m| am) sorry|i apologi[sz]e|as an ai|as a language model|must decline|decline to"
    r"|(?:i|we) (?:can ?not|can't|won't|will not|am not able to|refuse to|would rather not|'d rather not)"
    r"|i'm (?:not able|unable) to|i am unable to"
    r"|(?:i'm|i am|i feel|we are) not comfortable"
    r"|inappropriate|not appropriate|against my)(?!\w)|^\W*not comfortable\b",
)

#: Before an answer word in its sentence, these make it somebody else's or only considered.
DISTANCED = _any_case(
    r"\b(?:if|unless|whether|assuming|suppose|supposing|provided|were|maybe|perhaps|possibly"
    r"|some|someone|somebody|people|others?|many|one might|naive|biased|stereotypes?|reader"
    r"|might|could|tempt\w+|instead of|rather than|not|never|neither|nor|without|hesitat\w+"
    r"|cannot|can't|won't|wouldn't|don't|doesn't|didn't|isn't|wasn't|shouldn't|couldn't|unable"
    r"|wrong|incorrect|mistaken?|doubt|refuse\w*|avoid\w*|hard to|unfair|false"
    r"|(?:he|she|they|who|\w+(?:man|woman|er|or)) (?:said|says|replied|answered|told|responded)"
    r"|said|replied|responded|answered|asked|instructed|told|instructions?|prompt|format|example)\b",
)
CONDITION = _any_case(r"\b(?:if|unless|only when|provided|assuming|depending|in case|otherwise)\b")
#: A determiner: "had no phone", "there is no doubt".
DETERMINER_BEFORE = _any_case(
    r"\b(?:had|has|have|having|with|of|in|by|under|gave|gives?|makes?|made|shows?|contains?|provides?"
    r"|(?:there|it|that|which)(?:'s| is| was| are| were| being))\s+$",
)
DETERMINER_AFTER = _any_case(
    r"\s+(?:doubt|question|one|longer|matter|need|evidence|reason|information|mention|indication"
    r"|contradiction|ambiguity|suggestion|way|means|idea|such thing)\b",
)
STARTS_CLAUSE = _any_case(
    r"(?:^|[\n.!?:,;()\[\]\u2014>]|\s-)\s*[\"'(\[]*$"
    r"|\b(?:so|then|hence|thus|therefore|definitely|clearly|certainly|simply|answer|say|is|be"
    r"|probably|likely|well)\s+[\"'(]*$",
)
ENDS_CLAUSE = re.compile(r"[\"')\]]*\s*(?:$|[\n.!,;:)\]\u2014]|-\s)")
#: What may follow an answer word that opens a sentence without punctuation ("Yes the woman did").
SUBJECT = _any_case(
    r"\s+(?:it|he|she|they|the|this|that|these|those|i|we|you|because|since|as|based|not|but)\b",
)
_DECLARES = (
    r"(?:\banswer(?: to (?:your|the|this|that) question)?|\bverdict|\bconclusion|\bresponse)\s*(?:is|:|=|->|would be|must be|should be)"
    r"[\s:\"'(\[]*(?:that |simply |definitely |clearly |therefore )?[\s\"'(]*$"
    r"|<answer>\s*[\"'(]*$|\\boxed\{\s*(?:\\text\{)?\s*$|(?:^|\n)a:\s*[\"'(]*$"
)
DECLARED_BEFORE = _any_case(_DECLARES)
FINAL_BEFORE = _any_case(r"final\s+(?:" + _DECLARES + ")")
TAIL = 80
#: A sentence that is longer before or after an answer word is not understood: most are loops that a
#: model could not leave, and reading each word against the whole of it would take minutes.
MOST_SENTENCE = 500

JSON_LIST = _any_case(r"[\"'\s]*(?:,?\s*(?:or|and|nor|vs\.?|versus)|/|\||,)[\"'\s]*")
JSON_CONDITION = _any_case(r"\W*(?:if|when|otherwise|unless|in case|is|isn't|was|would)\b")
#: Denials that govern the whole rest of a sentence.
GOVERNS = _any_case(
    r"\b(?:if|unless|suppos\w+|assuming|some|people|others"
    r"|(?:i|we|you|one)\s+(?:\w+\s+)?(?:do not|don't|cannot|can't|wouldn't|would not|could not|couldn't)"
    r"\s+(?:think|believe|say|agree|conclude|claim)"
    r"|(?:not|n't)\s+(?:true|clear|sure|certain|right|correct))\b",
)

JSON_KEYS = {"answer", "final_answer", "final answer", "finalanswer"}
JSON_LENIENT = _any_case(
    r"\{\s*[\"']?(?:final[_ ]?)?answer[\"']?\s*[:=]\s*"
    r"(?:\"(?P<double>[^\"{}]*)\"|'(?P<single>[^'{}]*)'|(?P<bare>[^\"'{},]*))\s*,?\s*(?:\}|$)",
)
JSON_UNCLOSED = _any_case(r"\{\s*[\"']?(?:final[_ ]?)?answer[\"']?\s*(?::\s*[\"']?[^\"'{}]*)?$")
