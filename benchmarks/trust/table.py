"""The figures of reliability and security: what each promises, and the tests that try it."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """`tests` are pytest's; in the long form they run with MWALIMU_LONG=1."""

    number: str
    title: str
    goal: str
    tests: tuple[str, ...]


FIGURES = (
    Figure(
        "R1",
        "Stage 1, kill -9 at random moments",
        "1,000 kills: 0 rows lost or twice, same SHA-256, no more repeats than were in flight",
        (
            "tests/synthesis/test_kills.py::test_random_kills_lose_nothing_and_repeat_only_what_was_in_flight",
        ),
    ),
    Figure(
        "R2",
        "Stage 1, a kill at every write, fsync and rename",
        "every call of a run of 50 prompts, the same oracle",
        ("tests/synthesis/test_kills.py",),
    ),
    Figure(
        "R3",
        "Training, kill -9 at random moments, saves included",
        "1,000 kills: weights, log and generators bit for bit those of an undisturbed run",
        ("tests/finetune/test_resume.py::test_killed_at_any_moment_it_ends_with_the_same_bytes",),
    ),
    Figure(
        "R4",
        "Power cut: every state that the disk may be left in",
        "every prefix of the writes, unsynced ones lost or kept: opens whole, or as before",
        ("tests/power",),
    ),
    Figure(
        "R5",
        "A full disk at every write; other errors of files and sockets",
        "one line, its exit code; what was published is whole; the run ends with the same bytes",
        (
            "tests/faults/test_disk.py",
            "tests/faults/test_reading.py",
            "tests/faults/test_service.py",
        ),
    ),
    Figure(
        "R6",
        "Faults of a teacher",
        "60 kinds, on the first call, midway, on all: the right outcome a row, outcomes sum up",
        (
            "tests/synthesis/test_faults.py",
            "tests/faults/test_sockets.py",
            "tests/faults/test_short.py",
        ),
    ),
    Figure(
        "R7",
        "Rate limits",
        "no request before Retry-After; 90 % of the permitted rate used; under 1 % refused",
        ("tests/synthesis/test_rate_limits.py",),
    ),
    Figure(
        "R8",
        "Bad input",
        "300 cases: one line with file and line or key, and what to do; no call paid for first",
        ("tests/bad_input",),
    ),
    Figure(
        "R9",
        "Readers fuzzed",
        "1,000,000 inputs: no foreign error, none over 1 s, under 500 MB",
        ("tests/fuzzing",),
    ),
    Figure(
        "R10",
        "Rows that vanish without a word",
        "0: every id once in every stage, and by the sums of R1, R6, R16; too few: exit code 9",
        ("tests/test_every_row.py",),
    ),
    Figure(
        "R11",
        "Truncated, refused and other bad answers that get to the training",
        "every exact fault of 1,000 planted found; cut prose and other languages 5 % and 95 %",
        ("tests/curation/test_planted_faults.py",),
    ),
    Figure(
        "R12",
        "NaN and infinity",
        "50 places and moments: stopped before a step or a save, nothing of it published",
        ("tests/finetune/test_finite.py",),
    ),
    Figure(
        "R13",
        "Losses and gradients against float64",
        "10,000 cases: 1e-6 in float32, 1e-12 in float64",
        ("tests/objectives/test_torch_chunk.py",),
    ),
    Figure(
        "R14",
        "The same ids in training, evaluation and serving",
        "1,000 conversations with every special token as text: 0 differ",
        ("tests/serving/test_same_ids.py",),
    ),
    Figure(
        "R15",
        "Test rows among the training rows",
        "equal ones 100 %, thirteen words in a row 99 %, false alarms 0.1 %",
        ("tests/preparation/test_contamination.py",),
    ),
    Figure(
        "R16",
        "Soak of stage 1 with 5 % faults",
        "50,000 requests: 0 lost, memory, descriptors and tasks flat",
        ("tests/synthesis/test_soak.py",),
    ),
    Figure(
        "R17",
        "The job service killed and hammered",
        "2,000 sequences on the store, 200 kills: 0 lost, 0 run twice, none stuck beyond its lease",
        (
            "tests/jobs/store/test_store_machine.py",
            "tests/jobs/store/test_store_processes.py",
            "tests/jobs/workers/test_kills.py",
        ),
    ),
    Figure(
        "R18",
        "The service and the endpoint against their own documents",
        "schemathesis, every operation: no failure, no 5xx",
        ("tests/jobs/http/test_openapi.py", "tests/serving/test_openapi.py"),
    ),
    Figure(
        "R19",
        "Who may do what",
        "every route x no, bad, expired, lower token, foreign Host, Origin: all refused",
        ("tests/jobs/http/test_access.py",),
    ),
    Figure(
        "R20",
        "Paths and addresses that attack",
        "200: nothing read or written outside, no connection to a host that is not listed",
        ("tests/jobs/http/test_attacks.py", "tests/jobs/webhooks"),
    ),
    Figure(
        "R21",
        "Planted keys",
        "20 inlets: in no file, line, answer or database, plain or encoded",
        ("tests/synthesis/test_canaries.py",),
    ),
    Figure(
        "R22",
        "Hostile model folders",
        "30: nothing of theirs runs; refused in one line, or loaded without it",
        ("tests/hostile",),
    ),
    Figure(
        "R23",
        "Markup as text in the dashboard",
        "100 payloads in every text field: none runs",
        ("tests/jobs/dashboard/test_hostile.py",),
    ),
    Figure(
        "R24",
        "Supply chain",
        "every package pinned by hash, no unexpected .pth, licences known, installs offline",
        ("tests/test_supply_chain.py", "tests/test_offline.py"),
    ),
    Figure(
        "R25",
        "Tests that bite",
        "20 safety switches turned off one at a time: each caught",
        ("tests/mutations",),
    ),
    Figure(
        "R26",
        "Mixed soak: service, generation and training, all killed at random",
        "60 minutes: 0 rows lost, no more repeats than were in flight, the server does not grow",
        ("tests/soak",),
    ),
)
