"""Safety switches, each as a change of the source that turns it off, and the tests that see it."""

from __future__ import annotations

from typing import NamedTuple


class Switch(NamedTuple):
    """`was` stands once in `file`, below src/mwalimu; `off` takes its place."""

    file: str
    was: str
    off: str
    test: str


SWITCHES = {
    "a published file is fsynced": Switch(
        "files.py",
        "                handle.flush()\n                os.fsync(handle.fileno())\n",
        "                handle.flush()\n",
        "tests/power/test_power_cut.py",
    ),
    "a folder is fsynced after a rename": Switch(
        "files.py",
        "        fsync_folder(path.parent)\n\n\ndef write_json",
        "        pass\n\n\ndef write_json",
        "tests/power/test_power_cut.py",
    ),
    "answers are fsynced": Switch(
        "synthesis/store.py",
        "        with disk_errors(self.folder):\n            os.fsync(self._file)\n",
        "        return\n",
        "tests/power/test_power_cut.py",
    ),
    "the manifest's hashes are held against the files": Switch(
        "run.py",
        "if not os.path.isfile(path) or sha256_file(path) != digest:",
        "if not os.path.isfile(path):",
        "tests/test_run.py",
    ),
    "a manifest names no file outside its folder": Switch(
        "run.py",
        "            if not PurePosixPath(file).parts or not is_inside(file):\n",
        "            if False:\n",
        "tests/test_run.py",
    ),
    "a short read is gone on with": Switch(
        "files.py",
        "    while len(data) < length and (",
        "    while False and (",
        "tests/faults/test_short.py",
    ),
    "a frame's checksum": Switch(
        "synthesis/frames.py",
        "    if zlib.crc32(memoryview(data)[offset : offset + length], head) != crc:\n",
        "    if False:\n",
        "tests/synthesis/test_store.py",
    ),
    "what goes out is journalled": Switch(
        "synthesis/store.py",
        '        self._append(SENT, [(key, cost, b"") for key, cost in requests])\n',
        "        return\n",
        "tests/synthesis/test_store.py",
    ),
    "a budget is reserved before it is spent": Switch(
        "synthesis/budget.py",
        "self.spent[unit] + self._held[unit] + asked[unit] > cap",
        "self.spent[unit] > cap",
        "tests/synthesis/test_budget.py",
    ),
    "a request's tokens are bounded by its bytes": Switch(
        "synthesis/budget.py",
        'prompt += len(message.content.encode("utf-8", "surrogatepass")) + TURN_TOKENS',
        "prompt += len(message.content) // 4",
        "tests/synthesis/test_budget.py",
    ),
    "named secrets are left out of the manifest": Switch(
        "config/redact.py",
        "    return HIDDEN if isinstance(value, str) and value in hidden else value\n",
        "    return value\n",
        "tests/synthesis/test_canaries.py",
    ),
    "passwords are left out of addresses": Switch(
        "config/redact.py",
        "place.rpartition('@')[2]",
        "place",
        "tests/test_config.py",
    ),
    "an address holds no password": Switch(
        "teachers/wire.py",
        "    if url.user or url.password:\n",
        "    if False:\n",
        "tests/teachers/test_served.py",
    ),
    "the loss is finite before a step": Switch(
        "finetune/trainer.py",
        "        _require_finite(loss, grad_norm, step + 1)\n",
        "",
        "tests/finetune/test_finite.py",
    ),
    "a checkpoint is finite": Switch(
        "finetune/checkpoint.py",
        "            snapshot.require_finite(state.step)\n",
        "",
        "tests/finetune/test_finite.py",
    ),
    "a published student is finite": Switch(
        "finetune/student/publishing.py",
        "if not tensor.isfinite().all()]",
        "if False]",
        "tests/finetune/student/test_publishing.py",
    ),
    "only the answer is learned": Switch(
        "data/tokenize.py",
        '    learned = bytes(len(prompt)) + b"\\1" * (len(ids)',
        '    learned = b"\\1" * len(prompt) + b"\\1" * (len(ids)',
        "tests/data/test_tokenize.py",
    ),
    "temperature squared": Switch(
        "objectives/kernels/torch_chunk.py",
        "[squared(value_C, part) for value_C, part in zip(values, group, strict=True)]",
        "list(values)",
        "tests/objectives/test_torch_chunk.py",
    ),
    "the best tokens are taken out before the tail is summed": Switch(
        "objectives/kernels/torch_chunk.py",
        "    rest_C, mass_C = _softmax_(buffer_CV)\n",
        "    rest_C, mass_C = _softmax_(buffer_CV)\n    rest_C = rest_C + 0.01\n",
        "tests/objectives/test_torch_chunk.py",
    ),
    "no code of a model runs": Switch(
        "data/loading.py",
        '{"local_files_only": os.path.isdir(name), "trust_remote_code": trust_remote_code}',
        '{"local_files_only": os.path.isdir(name), "trust_remote_code": True}',
        "tests/hostile/test_models.py",
    ),
    "missing weights are not drawn by chance": Switch(
        "data/loading.py",
        '    if missing := sorted(info["missing_keys"]):\n',
        "    if missing := []:\n",
        "tests/hostile/test_models.py",
    ),
    "a token is asked for": Switch(
        "jobs/http/guard.py",
        'if scope["owner"] is None and not _is_open(scope["method"], scope["path"]):',
        "if False:",
        "tests/jobs/http/test_access.py",
    ),
    "Host is looked at": Switch(
        "jobs/http/guard.py",
        "    if len(hosts) != 1 or named_host(hosts[0]) not in LOOPBACK.union(allowed):\n",
        "    if len(hosts) != 1:\n",
        "tests/jobs/http/test_access.py",
    ),
    "Origin is looked at": Switch(
        "jobs/http/guard.py",
        "    return all(place_of(origin) == hosts[0].lower() for origin in origins)\n",
        "    return True\n",
        "tests/jobs/http/test_access.py",
    ),
    "a webhook goes to public addresses only": Switch(
        "jobs/webhooks/target.py",
        "            if not is_public(address):\n",
        "            if False:\n",
        "tests/jobs/webhooks/test_target.py",
    ),
    "a known key is taken out of a log": Switch(
        "telemetry/redaction.py",
        "        if form in text:\n",
        "        if False:\n",
        "tests/telemetry/test_redaction.py",
    ),
    "what looks like a key is taken out of a log": Switch(
        "telemetry/redaction.py",
        "    return _LOOKS.sub(_hidden, text)\n",
        "    return text\n",
        "tests/telemetry/test_redaction.py",
    ),
    "a prompt is in no log that did not ask for it": Switch(
        "telemetry/logs.py",
        "(text or name not in TEXT)",
        "name",
        "tests/telemetry/test_logs.py",
    ),
    "a full disk ends nobody for his log": Switch(
        "telemetry/logs.py",
        "        except Exception as error:  # whatever it is, it is not the job's\n",
        "        except ValueError as error:\n",
        "tests/telemetry/test_logs.py",
    ),
    "metrics are for programs of this machine": Switch(
        "telemetry/metrics.py",
        '        if (host[0] or host[2]).lower() not in NAMES or environ.get("HTTP_ORIGIN"):\n',
        "        if False:\n",
        "tests/telemetry/test_metrics.py",
    ),
    "a lease is one worker's": Switch(
        "jobs/store/leases.py",
        "WHERE job = :job AND token = :token AND NOT",
        "WHERE job = :job AND :token = :token AND NOT",
        "tests/jobs/store/test_job_store.py",
    ),
}
