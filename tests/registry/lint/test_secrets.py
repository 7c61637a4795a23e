"""Secrets that a trace prints, or that stand in a file."""

import pytest

TRACED = [
    "set -ex\nexport HF_TOKEN=$MAD_SECRETS_HFTOKEN",
    "set -o xtrace\nhf login --token $HF_TOKEN",
    "#!/bin/bash -x\necho ${MAD_SECRETS_HFTOKEN}",
    "set -x\nexport HF_TOKEN=abcdef123",
    'set -eux\ncurl -H "Authorization: $API_KEY" x',
    "set +x\nset -x\nexport A=${HF_TOKEN:-none}",
]
QUIET = [
    "set -e\nexport HF_TOKEN=$MAD_SECRETS_HFTOKEN",
    "export HF_TOKEN=$MAD_SECRETS_HFTOKEN\nset -x",
    "set -x\nset +x\nexport HF_TOKEN=$MAD_SECRETS_HFTOKEN",
    "set -ex\n# export HF_TOKEN=$MAD_SECRETS_HFTOKEN",
    "set -x\necho $MAX_TOKENS $tokenizer $key",
    "set -x\necho '$HF_TOKEN'",
    "set -x\n[[ ${HF_TOKEN:+set} ]]",
    "set -x\nHF_TOKEN= python3 x",
    "offset -x\nexport HF_TOKEN=$MAD_SECRETS_HFTOKEN",
]
TOKENS = [
    "hf_" + "aB3dE6gH9k" * 4,
    "ghp_" + "aB3dE6gH9k" * 4,
    "AKIA" + "Q4R7T2W9Y1Z3X5V8",
    "-----BEGIN RSA PRIVATE KEY-----",
]
NO_TOKENS = ["hf_hub_download_files", "hf_" + "x" * 36, "AKIAIOSFODNN7EXAMPLE", "ghp_short", "my_hf_model_token"]


@pytest.mark.parametrize("text", TRACED)
def test_a_secret_under_a_trace_is_found(checkout, text):
    checkout.write("scripts/a/run.sh", f"{text}\n")
    assert "traced-secret" in checkout.rules()


@pytest.mark.parametrize("text", QUIET)
def test_a_secret_that_no_trace_prints_is_left_alone(checkout, text):
    checkout.write("scripts/a/run.sh", f"{text}\n")
    assert "traced-secret" not in checkout.rules()


@pytest.mark.parametrize("call", ["bash -x inner.sh", "bash -ex ./inner.sh", "set -x\nsource ./inner.sh"])
def test_a_script_that_is_started_or_sourced_under_a_trace_is_traced(checkout, call):
    checkout.write("scripts/a/run.sh", f"{call}\n")
    checkout.write("scripts/a/inner.sh", "export HF_TOKEN=$MAD_SECRETS_HFTOKEN\n")
    assert checkout.found() == [("traced-secret", "scripts/a/inner.sh:1")]
    checkout.write("scripts/a/run.sh", "bash ./inner.sh\n")
    assert checkout.found() == []


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("name", ["scripts/a/config.yaml", "scripts/a/run.sh", "docker/a.ubuntu.amd.Dockerfile"])
def test_a_token_in_a_file_is_found_and_not_repeated(checkout, token, name):
    checkout.write(name, f"# CONTEXT {{}}\ntoken: {token}\n")
    found = [finding for finding in checkout.inspect().findings if finding.rule == "written-token"]
    assert [(finding.file, finding.line) for finding in found] == [(name, 2)]
    assert token[8:] not in str(found)


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_only_looks_like_a_token_is_left_alone(checkout, text):
    checkout.write("scripts/a/config.yaml", f"token: {text}\n")
    assert checkout.rules() == []


def test_a_token_in_the_arguments_of_a_card_is_found(checkout):
    checkout.cards({"args": f"--token {TOKENS[0]}"})
    assert "written-token" in checkout.rules()
