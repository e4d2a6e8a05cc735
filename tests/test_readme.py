"""README.md promises only what is there: its commands parse, its files exist."""

import re
import shlex

import pytest
from conftest import ROOT

import params

TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if "src/" in line]

PARSERS = {
    "main.py": params.training_parser,
    "eval.py": lambda: params.evaluation_parser("eval.py", ""),
    "eval_qm.py": lambda: params.evaluation_parser("eval_qm.py", ""),
    "eval_qmg.py": lambda: params.evaluation_parser("eval_qmg.py", ""),
    "restore.py": params.restore_parser,
    "convert.py": params.convert_parser,
    "export.py": params.export_parser,
    "paper.py": params.paper_parser,
    "fetch_data.py": params.fetch_parser,
}


def test_the_readme_shows_how_to_use_every_program():
    shown = {re.search(r"src/(\w+\.py)", command).group(1) for command in COMMANDS}
    assert shown >= {"main.py", "eval.py", "eval_qm.py", "eval_qmg.py", "restore.py"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    words = shlex.split(command, comments=True)
    place = next(i for i, word in enumerate(words) if word.startswith("src/"))
    program = words[place].removeprefix("src/")
    assert (ROOT / "src" / program).is_file()
    if program in PARSERS:
        PARSERS[program]().parse_args(words[place + 1 :])


def test_pictures_and_links_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    local = [target for target in targets if "://" not in target]
    assert local and [target for target in local if not (ROOT / target).exists()] == []


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make (\w+)", TEXT, re.MULTILINE))
    assert targets >= {"demo", "test"}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
