"""What the names of rows and columns say: repetitions, test images, averages, and numbers that are no accuracies."""

from __future__ import annotations

import re

from clipbench.audit.user.cell import plain

RUNS, TEST_SIZE, STD, AVERAGE, DIFFERENCE, QUANTITY, SCORE = (
    "runs",
    "test size",
    "standard deviation",
    "average",
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
_STD = re.compile(r"(std|sd|s d|stdev|std dev|standard deviation|stddev|spread)( %)?")
_AVERAGE = re.compile(r"((macro|overall|grand) )?(avg|average|mean)( (acc|accuracy|score|top 1))?( %)?")
_DIFFERENCE = re.compile(r"(delta|gain|gains|diff|difference|improvement|improvements|δ|Δ)( %)?")
_QUANTITY_WORD = re.compile(
    r"\b(params?|parameters?|g?flops?|g?macs?|time|latency|throughput|fps|memory|vram|gpu|gb|mb|gib|mib|seconds?|secs?"
    r"|minutes?|mins?|hours?|hrs?|energy|joules|kwh|co2|speed|cost|price|venue|reference|year|perplexity|loss|trainable"
    r"|tunable)\b"
)
_QUANTITY_ALONE = re.compile(
    r"(# ?)?(shots?|epochs?|steps?|iterations?|iters?|rank|r|k|alpha|classes|layers|depth|width|batch( size)?"
    r"|lr|learning rate|resolution|input( size)?|image size|dim|tokens|train( size| images)?|size"
    r"|seed|id|line|fold|images|samples)"
)
_NO_COUNT = re.compile(
    r"\b(m?f1|f ?1|f score|f measure|f beta|m?dice|dsc|m?iou|jaccard|au ?(roc|c|prc?)|roc|m?ap|top ?[235]|top ?10"
    r"|mean per class|per class|class (avg|average|mean)|mean class|balanced|macro|kappa|mcc|bleu|rouge|cider|psnr|ssim"
    r"|h score|hm|harmonic( mean)?|hausdorff|hd ?95|asd|precision|recall|sensitivity|specificity|ece|nll|ndcg|mrr"
    r"|r2|rmse|mae|mse)\b|^h$"
)
_LABEL_RUNS = re.compile(r"\bn ?= ?(\d{1,9})\b|\b(\d{1,9}) (?:runs|seeds|repetitions|trials)\b", re.I)


def normal(label: str) -> str:
    """Lower case, words apart by one space, without signs other than ``#`` and ``%``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", plain(label))
    return re.sub(r"\s+", " ", re.sub(r"[^0-9a-zδ#%]+", " ", text.lower())).strip()


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
    return QUANTITY if _QUANTITY_WORD.search(text) else SCORE


def no_count(*labels: str) -> str:
    """The word by which a number is known to be no share of right answers; empty where none says so."""
    for label in labels:
        if match := _NO_COUNT.search(normal(label)):
            return match[0]
    return ""


def std_of(label: str) -> str:
    """The name of the column whose standard deviations a column called ``UCM std`` holds; empty where it is none."""
    match = re.fullmatch(r"(.+) (std|sd|stdev|std dev|stddev)", normal(label))
    return match[1] if match else ""


def runs_in(label: str) -> int | None:
    """The repetitions that a label itself states: ``ours (n=3)``, ``ours, 3 seeds``."""
    match = _LABEL_RUNS.search(plain(label))
    return int(match[1] or match[2]) or None if match else None
