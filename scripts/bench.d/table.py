"""The table of results: a row for each measured step, and for each program its columns."""

from session import MIB, STEP_LIMIT


class Cell:
    """What one program's runs of one row came to: the median by time, and all that was wrong in any of them."""

    def __init__(self):
        self.steps, self.failures = [], []

    def median(self):
        done = sorted((step for step in self.steps if not step.too_slow), key=lambda step: step.seconds)
        return done[len(done) // 2] if done else None

    def is_right(self):
        return not self.failures and not any(step.wrong for step in self.steps)

    def troubles(self):
        wrong = sorted({f"WRONG: {text}" for step in self.steps for text in step.wrong})
        return wrong + sorted(set(self.failures))


def seconds(value):
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def ratio(one, other):
    return f"{one / other:.2f}" if other >= 0.001 else ""


def mebibytes(value):
    return f"{value / MIB:.2f}" if value < 10 * MIB else f"{value / MIB:.0f}"


def calls(step):
    """All calls, and by name, the most frequent first: `12: 10 get, 2 link`."""
    named = sorted(step.calls.items(), key=lambda call: (-call[1], call[0]))
    names = ", ".join(f"{count} {name}" for name, count in named)
    return f"{sum(step.calls.values())}: {names}" if names else "0"


COLUMNS = ("s", "calls", "in", "out", "peak")


def columns_of(cell):
    step = cell.median()
    if step is None:
        slow = cell.steps[-1] if cell.steps else None
        if slow is None:
            return ["failed" if cell.failures else "", "", "", "", ""]
        return [f"> {STEP_LIMIT}", calls(slow), mebibytes(slow.fetched), mebibytes(slow.sent), f"{slow.memory / MIB:.0f}"]
    sizes = [mebibytes(step.fetched), mebibytes(step.sent), f"{step.memory / MIB:.0f}"]
    return [seconds(step.seconds), calls(step), *sizes]


def render(rows, programs, profile):
    """`rows`: pairs of a Row and its cells by program; the first program is the one that the others are compared to."""
    first, *others = programs
    groups = ["", "", "", *[first] * (len(COLUMNS) + 1)]
    head = ["workload", "limit", "aim", "s", "x limit", *COLUMNS[1:]]
    for other in others:
        groups += [other] * (len(COLUMNS) + 1)
        head += ["s", f"x {first}", *COLUMNS[1:]]
    lines, notes = [], []
    for row, cells in rows:
        limit = row.limit(profile)
        mine = cells[first].median()
        shown, *rest = columns_of(cells[first])
        is_time = isinstance(limit, float)
        against = ratio(mine.seconds, limit) if mine and is_time else ""
        line = [row.label, seconds(limit) if is_time else limit or "", row.aim, shown, against, *rest]
        for other in others:
            theirs = cells[other].median()
            shown, *rest = columns_of(cells[other])
            line += [shown, ratio(theirs.seconds, mine.seconds) if theirs and mine else "", *rest]
        lines.append(line)
        for program in programs:
            step = cells[program].median()
            told = cells[program].troubles() + (step.notes if step else [])
            if told:
                notes.append(f"{row.label}, {program}: {'; '.join(told)}")
            if not cells[program].is_right():
                line[0] = f"{row.label} [NOT RIGHT: {program}]"
    return layout(groups, head, lines) + ["", *notes]


def layout(groups, head, lines):
    widths = [max(len(line[at]) for line in [head, *lines]) for at in range(len(head))]
    left = {0, 2} | {at for at, name in enumerate(head) if name == "calls"}

    def text(line):
        padded = (cell.ljust(width) if at in left else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths)))
        return "  ".join(padded).rstrip()

    above, place = "", 0
    for at, group in enumerate(groups):
        if group and (at == 0 or groups[at - 1] != group):
            above = above.ljust(place) + group
        place += widths[at] + 2
    return [above, text(head), "-" * len(text(head)), *map(text, lines)]
