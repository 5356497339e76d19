"""What the names of rows and columns say: repetitions, test images, averages, and numbers that are no accuracies."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clipbench.audit.user.cell import plain

RUNS, TEST_SIZE, STD, AVERAGE, SOME_AVERAGE, DIFFERENCE, QUANTITY, SCORE = (
    "runs",
    "test size",
    "standard deviation",
    "average",
    "average of some",
    "difference",
    "quantity",
    "score",
)
_RUNS = re.compile(
    r"(# ?|num(ber)? (of )?|no of |nb |n )?(runs?|seeds?|repetitions?|repeats?|reps|trials?|replicates?)|n|# ?n"
)
_TEST_SIZE = re.compile(
    r"(# ?|num(ber)? of |n )?test (set )?(size|images?|samples?|examples?|n)|size of (the )?test (set|part)|# ?test"
    r"|n test|testsize|ntest"
)
_STD = re.compile(r"(std|sd|s d|stdev|std dev|standard deviation|stddev|spread|σ)( %)?")
_MEAN = r"(avg|average|mean|mittel|mittelwert|durchschnitt|ø|moyenne|media|promedio)"
_AVERAGE = re.compile(
    rf"((macro|overall|grand) )?{_MEAN}( (acc|accuracy|score|top 1))?( (of|over|on|across) .*)?( \d+)?( %)?"
)
_SOME_AVERAGE = re.compile(rf"\b{_MEAN}\b(?! (rank|per|class|iou|dice|f1|ap|teacher|pool))")
_CHANGE = r"(delta|gains?|diff|differences?|improv|improvements?|increase|decrease|drop|change|δ)"
_DIFFERENCE = re.compile(
    rf"((abs|absolute|rel|relative|mean|avg|average) )?{_CHANGE}( %| acc| accuracy)?"
    r"( (over|vs|versus|to|from|of|wrt|w r t|against|compared|relative|than|x|in) .*)?|(vs|versus) .*"
)
_QUANTITY_WORD = re.compile(
    r"^#|\b(params?|parameters?|g?flops?|g?macs?|mult adds|madds|time|runtime|wall clock|latency|throughput|fps|mem"
    r"|memory|storage|disk|vram|gpu|gb|mb|gib|mib|kb|seconds?|secs?|minutes?|mins?|hours?|hrs?|energy|joules|kwh|co2"
    r"|speed|speedup|cost|price|venue|publication|reference|year|perplexity|loss|trainable|tunable|learnable|rank"
    r"|p values?|\d\d ?%? ci|stderr|ctx|(prompt|context) length|learning rate|train(ing)? (images|samples|set|size))\b"
    r"|\bms$|^ms (img|image|sample|batch|iter|step)|\b(imgs?|images?|samples?|iters?|it) s(ec)?\b"
)
_QUANTITY_ALONE = re.compile(
    r"(# ?)?(shots?|epochs?|steps?|iterations?|iters?|r|k|p|alpha|beta|lambda|tau|α|β|λ|τ|classes|layers|depth|width"
    r"|batch( size)?|lr|resolution|input( size)?|image size|dim|dimension|tokens|train( size| images)?|size|seed|id"
    r"|line|fold|images|samples|support|se|sem|ci|min|max|median|var|variance)"
)
_STRICT = (
    r"mean per class|per class|class (avg|average|mean)|mean class|balanced|b ?acc|m ?acc|fwavacc"
    r"|macro (averaged? )?acc(uracy)?|aa|g mean"
    r"|h score|hm|harmonic( mean)?"
)
"""Means over classes, or of two numbers, whatever else a caption says."""
_NO_COUNT = re.compile(
    rf"\b({_STRICT}|macro|m?f ?1|f score|f measure|f beta|m?dice|m?dsc|nsd|m?iou|jaccard"
    r"|(pr )?au ?(roc|c|prc?)|roc|m?ap ?\d*"
    r"|(top|acc) ?([235]|10)|kappa|κ|mcc|bleu|rouge|cider|meteor|spice|psnr|ssim|fid|hausdorff|hd ?95"
    r"|asd|(?<!mixed )(?<!half )precision|recall|r ?(1|5|10)|sensitivity(?! (to|of|analysis|study))|specificity|ece|nll"
    r"|ndcg|mrr|r2|rmse|mae|mse|m?ce|eer|[ft]pr ?\d*|(s|p|pl)?rcc|pcc|pearson|spearman|pq|vqa( score)?|[wc]er|r acc)\b"
    r"|^(sq|rq)$|(?<!vit )\bh$"
)
_ACCURACY = re.compile(r"\b(acc|accuracy|accuracies|oa|top 1)\b")
_NO_DEVIATION = re.compile(r"confidence|\b(c i|ci|cis|standard errors?|std err|stderr|s e m?|sem|mean se)\b|\bse$")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LABEL_RUNS = re.compile(
    rf"\bn ?= ?(\d{{1,9}})\b|\b(\d{{1,9}}|{'|'.join(_NUMBERS)}) (?:\w+ )?(?:runs|seeds|repetitions|trials)\b"
)
_LABEL_SIZE = re.compile(r"\bN ?= ?(\d[\d,]{0,11})\b|\b(\d[\d,]{0,11}) test (?:images|samples)\b")


def normal(label: str) -> str:
    """Lower case, words apart by one space, without signs other than ``#`` and ``%``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", plain(label))
    return re.sub(r"\s+", " ", re.sub(r"[^0-9a-zα-ωø#%]+", " ", text.lower())).strip()


def role(label: str) -> str:
    """What a row or column is by its name."""
    text = normal(label)
    bare = re.sub(r" ?%$", "", text)
    if plain(label).strip() in ("±", "+/-"):
        return STD
    for pattern, found in (
        (_RUNS, RUNS),
        (_TEST_SIZE, TEST_SIZE),
        (_STD, STD),
        (_AVERAGE, AVERAGE),
        (_DIFFERENCE, DIFFERENCE),
        (_QUANTITY_ALONE, QUANTITY),
    ):
        if pattern.fullmatch(bare):
            return found
    if _QUANTITY_WORD.search(text):
        return QUANTITY
    return SOME_AVERAGE if _SOME_AVERAGE.search(text) else SCORE


def role_of(label: str, *, decimals: bool) -> str:
    """As ``role``, but of a single Latin letter, whose numbers may have decimals: ImageNet-R is no rank."""
    kind = role(label)
    return SCORE if kind == QUANTITY and decimals and re.fullmatch("[a-z]", normal(label)) else kind


def sizes_by_name(labels: Mapping[int, str]) -> dict[int, str]:
    """Which of the names state repetitions or test images; ``N`` beside other repetitions is the number of images."""
    kinds = {at: kind for at, label in labels.items() if (kind := role(label)) in (RUNS, TEST_SIZE)}
    runs = [at for at, kind in kinds.items() if kind == RUNS]
    letters = [at for at in runs if normal(labels[at]) == "n"]
    letters = [at for at in letters if plain(labels[at]) == "N"] or letters
    if len(runs) > 1 and letters and TEST_SIZE not in kinds.values():
        kinds[letters[-1]] = TEST_SIZE
    return kinds


def no_count(*labels: str, title: str = "") -> str:
    """The word by which a number is known to be no share of right answers; empty where none says so.

    A title that names accuracies beside other numbers says nothing of a column.
    """
    for label in labels:
        if match := _NO_COUNT.search(normal(label)):
            return match[0]
    text = normal(title)
    match = re.search(rf"\b({_STRICT})\b", text) or (None if _ACCURACY.search(text) else _NO_COUNT.search(text))
    return match[0] if match else ""


def is_harmonic(label: str) -> bool:
    """Whether a name says harmonic mean: that of averages is no average of its column."""
    return bool(re.search(r"(?<!vit )\bh$|\b(hm|harmonic)\b", normal(label)))


def no_deviation(*labels: str) -> bool:
    """Whether what stands behind the sign of plus and minus is a confidence interval or a standard error."""
    return any(_NO_DEVIATION.search(normal(label)) for label in labels)


def std_of(label: str) -> str:
    """The name of the column whose standard deviations a column called ``UCM std`` holds; empty where it is none."""
    match = re.fullmatch(r"(.+) (std|sd|stdev|std dev|stddev)", normal(label))
    return match[1] if match else ""


def runs_in(label: str) -> int | None:
    """The repetitions that a label itself states: ``ours (n=3)``, ``ours, 3 seeds``."""
    match = _LABEL_RUNS.search(plain(label)) or _LABEL_RUNS.search(normal(label))
    number = (match[1] or match[2]) if match else "0"
    return _NUMBERS.index(number) + 1 if number in _NUMBERS else int(number) or None


def test_size_in(label: str) -> int | None:
    """The test images that a label itself states: ``UCM (N=420)``, ``UCM, 420 test images``."""
    match = _LABEL_SIZE.search(plain(label))
    return int((match[1] or match[2]).replace(",", "")) or None if match else None
