"""What a bash or Python script hides, and what only looks like it."""

import pytest

HITS = {
    "masked-pipe": [
        "python3 train.py | tee log",
        "torchrun x.py 2>&1 |& tee -a log",
        "python3 train.py \\\n  --lr 1 \\\n  | tee log",
        "python3 train.py |\n  tee log",
        "for i in 1 2; do ./x.sh; done | tee log",
        "set -e\nif python3 x.py | tee log; then echo fine; fi",
        "python3 a.py | tee log\nset -o pipefail",
    ],
    "masked-command": [
        "python3 train.py || true",
        "torchrun --nproc_per_node 8 x.py || :",
        "$MAD_MULTI_NODE_RUNNER x.py || true",
        "bash bench.sh 2>&1 > log || exit 0",
        "HIP_VISIBLE_DEVICES=0 timeout 60 python3 train.py | cat || true",
        "if true; then time ./bench.sh || true; fi",
    ],
    "exit-zero": ["python3 train.py\nexit 0", "torchrun x.py > log\necho done\n\nexit 0  # fine\n"],
    "constant-result": [
        'echo "performance: 1 pass"',
        "echo performance: 12.5 tokens/s",
        "printf 'performance: 1 pass\\n'",
        'if true; then echo "performance:   1"; fi',
    ],
    "append-results": ["echo a,1,tok >> perf_a.csv", 'cat rows >> "../perf_a.csv"', "cat rows >> $MAD_OUTPUT_CSV"],
    "fixed-port": [
        "vllm serve m --port 8000",
        "export MASTER_PORT=29500",
        "torchrun --master_port=29500 x.py",
        "PORT='20005'",
    ],
    "undefined-usage": ["case $1 in -h) usage ;; esac", "[[ $# -gt 0 ]] || usage"],
    "placeholder": [
        "export DATA=/path/to/data",
        "MODEL=<model name>",
        'WANDB="CHANGEME"',
        "python3 x.py --data /path/to/weights",
        "export TOKEN_FILE=your-file-here",
    ],
    "no-called-file": ["bash other.sh", "./report.sh", "source env/setup.sh\necho", "python3 gone.py --lr 1"],
}
MISSES = {
    "masked-pipe": [
        "# python3 train.py | tee log",
        "set -o pipefail\npython3 train.py | tee log",
        "set -euo pipefail\npython3 train.py | tee log",
        "python3 train.py | tee log\n[[ ${PIPESTATUS[0]} == 0 ]] || exit 1",
        "exec > >(tee log)\npython3 train.py",
        "rocm-smi | tee gpus.txt",
        'echo "x | tee y"',
        "cat <<EOF\npython3 train.py | tee log\nEOF",
        "cat <<'END'\npython3 train.py | tee log\nEND",
        "tee log < x",
        "echo start | tee log",
        "{ echo a; date; } | tee log",
        "docker ps | tee log",
        "x=$(grep y z | tee log)",
        "#!/bin/bash -o pipefail\npython3 x.py | tee log",
    ],
    "masked-command": [
        "rm -f log || true",
        "pip install x || true",
        "python3 -m pip install x || true",
        "kill $server || true",
        "python3 train.py || exit 1",
        "python3 train.py # || true",
        "grep x log || true",
        "pkill -f vllm || true",
        "docker rm -f vllm || true",
        "torch=$(which torchrun || true)",
        "command -v torchrun || true",
        "python3 --version || true",
        'version=$(python3 -c "import torch" || true)',
    ],
    "exit-zero": [
        "set -e\npython3 train.py\nexit 0",
        "set -euxo pipefail\npython3 train.py\nexit 0",
        "python3 train.py || exit 1\nexit 0",
        "if ! python3 train.py; then exit 1; fi\nexit 0",
        "python3 train.py\n[[ $? == 0 ]] || exit 1\nexit 0",
        "if [[ $1 == -h ]]; then\n  exit 0\nfi\npython3 train.py",
        "python3 train.py\nexit $?",
        "echo nothing to do\nexit 0",
    ],
    "constant-result": [
        'echo "performance: $tput tok/s"',
        'echo "performance: ${tput} tok/s"',
        '# echo "performance: 1 pass"',
        'grep "performance: 1" log',
        'echo "performance: $(cat out) tok/s"',
        "printf 'performance: %s tok/s\\n' \"$x\"",
        'echo "peak performance: see below"',
    ],
    "append-results": [
        "echo a >> log.txt",
        "echo model,performance,metric > perf_a.csv\necho a,1,tok >> perf_a.csv",
        "rm -f perf_a.csv\necho a,1,tok >> perf_a.csv",
        'echo "a >> b.csv" > x',
    ],
    "fixed-port": [
        "vllm serve m --port $PORT",
        "PORT=${PORT:-8000}",
        "export MASTER_PORT=${MASTER_PORT:-29500}",
        "# PORT=8000",
        'echo "use --port 8000"',
        "REPORT=10000x",
        "python3 x.py --import 8000a",
    ],
    "undefined-usage": [
        "usage() {\n  echo x\n}\n[[ $# -gt 0 ]] || usage",
        "function usage { echo x; }\nusage",
        "source lib.sh\nusage",
        "echo usage",
        "usage='run.sh -m MODEL'",
    ],
    "placeholder": [
        'echo "usage: run.sh <model>"',
        "# export DATA=/path/to/data",
        "cat <input >output",
        "DATA=${DATA:?}",
        'grep "<loss>" log',
    ],
    "no-called-file": [
        "cd /app\nbash other.sh",
        "git clone https://x/y\nbash other.sh",
        "echo 'echo x' > other.sh\nbash other.sh",
        "bash $NAME.sh",
        "bash ../scripts/common/x.sh",
        "bash /opt/x.sh",
        "if [[ -e other.sh ]]; then\n  bash other.sh\nfi",
    ],
}


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in HITS.items() for text in texts])
def test_a_rule_finds_what_it_is_for(checkout, rule, text):
    checkout.write("scripts/a/train.py", "")
    checkout.write("scripts/a/run.sh", f"{text}\n")
    assert rule in checkout.rules()


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in MISSES.items() for text in texts])
def test_a_rule_leaves_alone_what_only_looks_like_it(checkout, rule, text):
    checkout.write("scripts/a/train.py", "")
    checkout.write("scripts/a/run.sh", f"{text}\n")
    assert rule not in checkout.rules()


PYTHON_HITS = {
    "constant-result": ['print("performance: 1 pass")', "print(f'performance: 1 pass', flush=True)"],
    "append-results": [
        'open("perf.csv", "a")',
        "with open(csv_path, mode='a+') as f:",
        "df.to_csv(path, mode='a')",
        "open(os.path.join(d, 'perf.csv'), 'a')",
    ],
}
PYTHON_MISSES = {
    "constant-result": ['print(f"performance: {value} tok")', '# print("performance: 1 pass")'],
    "append-results": ['open("log.txt", "a")', 'open("perf.csv", "w")', '# open("perf.csv", "a")', "df.to_csv(path)"],
}


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in PYTHON_HITS.items() for text in texts])
def test_a_rule_for_python_finds_what_it_is_for(checkout, rule, text):
    checkout.write("scripts/a/train.py", f"{text}\n")
    assert (rule, "scripts/a/train.py:1") in checkout.found()


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in PYTHON_MISSES.items() for text in texts])
def test_a_rule_for_python_leaves_alone_what_only_looks_like_it(checkout, rule, text):
    checkout.write("scripts/a/train.py", f"{text}\n")
    assert rule not in checkout.rules()


def test_line_ends_of_windows_are_found_once_and_only_in_scripts_of_bash(checkout):
    checkout.write("scripts/a/run.sh", "echo a\r\necho b\r\n")
    checkout.write("scripts/a/train.py", "x = 1\r\n")
    assert checkout.found() == [("carriage-returns", "scripts/a/run.sh:1")]


def test_the_line_of_a_finding_is_that_of_the_command(checkout):
    checkout.write("scripts/a/train.py", "")
    checkout.write("scripts/a/run.sh", "echo a\ncat <<EOF\nx\nEOF\n\npython3 train.py \\\n  | tee log\n")
    assert checkout.found() == [("masked-pipe", "scripts/a/run.sh:6")]
