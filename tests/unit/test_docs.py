"""What is written down agrees with the program, and the program keeps the house's rules (CONTRIBUTING.md).

Everything here is read from files and from the program's own descriptions: settings, metrics, commands, gap reasons.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from storage.check_findings import Kind as FindingKind
from vms import errors
from vms.alarms.decision import AlarmKind
from vms.cli.app import app, hoist_global_options
from vms.metrics import metric_fields
from vms.model import GapReason
from vms.settings import Secret
from vms.settings_reader import all_settings

HOUSE = Path(__file__).resolve().parents[2]
PRODUCT = ("vms", "recorder", "storage", "web")
DOCUMENTS = sorted([*HOUSE.glob("*.md"), *(HOUSE / "docs").rglob("*.md")])
FOR_USERS = [
    HOUSE / "README.md",
    HOUSE / "SECURITY.md",
    HOUSE / "docs" / "faults.md",
    *sorted((HOUSE / "docs").glob("guide-*.md")),
]
DEPLOYMENT = sorted(p for p in (HOUSE / "deploy").rglob("*") if p.is_file())
ALERTS = HOUSE / "deploy" / "prometheus" / "alerts.yml"
DECISIONS = HOUSE / "docs" / "decisions"
MODULES = sorted(p for room in PRODUCT for p in (HOUSE / room).rglob("*.py"))
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".service",
    ".svg",
    ".json",
    ".txt",
    ".sh",
    ".mako",
    ".csv",
    "",
}
GLOBAL_OPTIONS = {"--data": 1, "--debug": 0}
FILES = ("site.key", "site.toml", "alarms.json")  # of the data folder
LONGEST_FILE, LONGEST_FUNCTION = 500, 60


def named(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def code_blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, content) of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(text))


def shell_lines(text: str, *languages: str) -> Iterator[str]:
    for language, block in code_blocks(text):
        if language in languages:
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


# Links


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


def headings(document: Path) -> set[str]:
    return {slug(m[1]) for m in re.finditer(r"^#+ (.+)$", prose(document.read_text()), re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in headings(file)):
            broken.append(target)
    assert not broken


def test_every_decision_is_in_the_index() -> None:
    index = (DECISIONS / "README.md").read_text()
    files = sorted(p.name for p in DECISIONS.glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index) == files
    for name in files:
        assert (DECISIONS / name).read_text().startswith(f"# {name[:4]} ")
    assert [name[:4] for name in files] == [f"{n:04}" for n in range(1, len(files) + 1)]


def test_files_named_in_the_architecture_exist() -> None:
    text = (HOUSE / "ARCHITECTURE.md").read_text()
    named_modules = set(re.findall(r"`((?:vms|recorder|storage)(?:\.[a-z_0-9]+)+)", text))
    for module in named_modules:
        parts = module.split(".")
        found = any((HOUSE.joinpath(*parts[:n]).with_suffix(".py")).exists() for n in range(2, len(parts) + 1))
        assert found or HOUSE.joinpath(*parts).is_dir(), module
    the_map = next(block for _, block in code_blocks(text) if "words and protocols" in block)
    known = {p.name for room in (*PRODUCT, "bench") for p in (HOUSE / room).rglob("*.py")}
    assert set(re.findall(r"\b([a-z_0-9]+\.py)\b", the_map)) <= known


@pytest.mark.parametrize("document", [*HOUSE.glob("*.md"), *sorted(DECISIONS.glob("*.md"))], ids=named)
def test_paths_named_in_documents_exist(document: Path) -> None:
    rooms = "|".join((*PRODUCT, "tests", "bench", "docs", "deploy", "scripts"))
    paths = re.findall(rf"`((?:{rooms})/[\w./-]*)`", document.read_text())
    assert [path for path in paths if not (HOUSE / path).exists()] == []


# Commands


def command_lines(text: str) -> Iterator[str]:
    """What is typed after `vms`, from blocks."""
    for line in shell_lines(text, "sh"):
        for part in re.split(r" && | \| |; ", re.sub(r"\s+# .*$", "", line)):
            match = re.match(r"(?:sudo -u \w+ )?(?:env (?:\w+=\S+ )+)?(?:\S*/)?vms (.*)$", part.strip())
            if match:
                yield match[1]


def without_global_options(arguments: list[str]) -> list[str]:
    left = hoist_global_options(arguments)
    while left and left[0] in GLOBAL_OPTIONS:
        left = left[1 + GLOBAL_OPTIONS[left[0]] :]
    return left


def descend(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that these arguments name, and what is left of them. Fails for one that is not there."""
    command: Any = typer.main.get_command(app)
    while arguments and hasattr(command, "commands"):
        assert arguments[0] in command.commands, f"there is no command {arguments[0]}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command, arguments


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_in_blocks_can_be_typed(document: Path) -> None:
    for line in command_lines(document.read_text()):
        if "…" in line and document not in FOR_USERS:
            continue  # a shape, not a command
        command, rest = descend(without_global_options(shlex.split(re.sub(r"…|\$\([^)]*\)", "X", line))))
        if not {"--help", "-h"} & set(rest):
            command.make_context(command.name, rest).close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_in_the_text_have_their_options(document: Path) -> None:
    for code in inline_code(document.read_text()):
        words = code.split()
        if words[:1] != ["vms"] or len(words) < 2 or not re.fullmatch(r"[a-z-]+", words[1]):
            continue
        arguments = without_global_options([w for w in words[1:] if "…" not in w])
        command, rest = descend(arguments)
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.split("=")[0] for word in rest if word.startswith("--")} - {"--help"}
        assert given <= options | GLOBAL_OPTIONS.keys(), code


def test_units_start_commands_that_exist() -> None:
    for unit in (p for p in DEPLOYMENT if p.suffix == ".service"):
        text = unit.read_text()
        started = re.findall(r"^ExecStart(?:Pre)?=\S+/vms (.+)$", text, re.MULTILINE)
        assert started
        for line in started:
            command, rest = descend(line.split())
            command.make_context(command.name, rest).close()
        for wanted in ("User=stroz", "StateDirectory=stroz", "Environment=VMS_DATA=/var/lib/stroz", "Restart=always"):
            assert f"\n{wanted}\n" in text, unit.name


def test_make_targets_exist_and_are_explained() -> None:
    makefile = (HOUSE / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert explained == set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        text = document.read_text()
        for code in [*inline_code(text), *shell_lines(text, "sh", "")]:
            if match := re.match(r"make((?: [a-z-]+)+)(?= |$)", re.sub(r"\s+#.*$", "", code)):
                assert set(match[1].split()) <= explained, f"{named(document)}: {code}"


# Settings, metrics, reasons


def setting_paths() -> set[str]:
    secret = {f"{s.path}_file" for s in all_settings() if s.kind is Secret}
    return {s.path for s in all_settings()} | secret


@pytest.mark.parametrize("document", [*FOR_USERS, *sorted(DECISIONS.glob("*.md"))], ids=named)
def test_settings_exist(document: Path) -> None:
    text, paths = document.read_text(), setting_paths()
    sections = {path.split(".")[0] for path in paths}
    for code in inline_code(text):
        for word in re.findall(r"(?<![\w./@-])([a-z]+\.[a-z_]+)(?![\w./-])", code):
            section, _, key = word.partition(".")
            if section not in sections or word in FILES or (HOUSE / section / f"{key}.py").exists():
                continue
            assert word in paths, word
    for language, block in code_blocks(text):
        if language == "toml":
            tree = tomllib.loads(block)
            assert {f"{section}.{key}" for section, table in tree.items() for key in table} <= paths


@pytest.mark.parametrize("file", [*DOCUMENTS, *DEPLOYMENT], ids=named)
def test_variables_exist(file: Path) -> None:
    known = {s.env for s in all_settings()} | {f"{s.env}_FILE" for s in all_settings() if s.kind is Secret}
    for module in MODULES:
        known |= set(re.findall(r'"(VMS_[A-Z_]+)"', module.read_text()))
    known |= {"VMS_CACHE", "VMS_SECTION_KEY", "VMS_STORE_PORT"}  # of scripts; a pattern; what Kubernetes would set
    assert set(re.findall(r"\bVMS_[A-Z_]+\b", file.read_text())) <= known


def metric_names() -> set[str]:
    names = {f.metadata["name"] for f in metric_fields()} | {"stroz_process_up"}
    histograms = {f.metadata["name"] for f in metric_fields() if f.metadata["buckets"]}
    return names | {f"{name}_{suffix}" for name in histograms for suffix in ("bucket", "sum", "count")}


@pytest.mark.parametrize("file", [*DOCUMENTS, *DEPLOYMENT], ids=named)
def test_metrics_exist(file: Path) -> None:
    assert set(re.findall(r"\bstroz_[a-z_]+\b", file.read_text())) <= metric_names()


def test_alerts_ask_for_what_there_is() -> None:
    text = ALERTS.read_text()
    labels = {f.metadata["name"]: set(f.metadata["labels"]) for f in metric_fields()}
    expressions = re.findall(r"^\s+expr: (.+)$", text, re.MULTILINE)
    alerts = re.findall(r"- alert: (\w+)$", text, re.MULTILINE)
    assert len(expressions) == len(alerts) == len(set(alerts)) >= 10
    for expression in expressions:
        assert expression.count("(") == expression.count(")")
        assert re.search(r"\bstroz_|up\{", expression)
        for name, selector in re.findall(r"\b(stroz_[a-z_]+)\{([^}]*)\}", expression):
            asked = set(re.findall(r"(\w+)\s*[=!]", selector))
            base = re.sub(r"_bucket$", "", name)
            assert asked <= labels.get(base, {"process"}) | {"process"}, expression
        for reason in re.findall(r'reason="(\w+)"', expression):
            assert reason in set(GapReason)
        for names in re.findall(r'error[=!]~?"([\w|]+)"', expression):
            assert all(issubclass(getattr(errors, name), errors.VmsError) for name in names.split("|"))
    for name in re.findall(r"`(Stroz\w+)`", (HOUSE / "docs" / "guide-it.md").read_text()):
        assert name in alerts


def test_the_page_of_faults_names_what_there_is_and_all_of_it() -> None:
    """Reasons, kinds of alarm, findings of a check, metrics and alerts; commands and settings are compared elsewhere."""
    text = (HOUSE / "docs" / "faults.md").read_text()
    words = {code for code in inline_code(text) if re.fullmatch(r"[a-z]+(_[a-z]+)*", code)}
    reasons, kinds = set(GapReason), set(AlarmKind)
    assert {word for word in words if "_" in word} <= reasons | kinds | set(FindingKind) | metric_names()
    assert (reasons | kinds) - words == set()
    alerts = set(re.findall(r"- alert: (\w+)$", ALERTS.read_text(), re.MULTILINE))
    assert set(re.findall(r"`(Stroz\w+)`", text)) <= alerts
    defaults = {s.path: str(s.default) for s in all_settings()}
    stated = re.findall(r"`([a-z]+\.[a-z_]+)`\s+\((\d+)\)", text)
    assert len(stated) > 5
    assert [f"{path} {value}" for path, value in stated] == [f"{path} {defaults[path]}" for path, _ in stated]
    sections = re.split(r"^### ", prose(text), flags=re.MULTILINE)[1:]
    listed = re.findall(r"^\| \[([^]]+)\]\(#", text, re.MULTILINE)
    assert listed == [section.split("\n", 1)[0] for section in sections]
    for section in sections:
        parts = re.findall(r"^- \*\*([\w ]+)\*\*", section.split("\n## ")[0], re.MULTILINE)
        assert parts in (["Seen", "Told", "Lost at most", "Do"], ["Told", "Lost at most", "Do"]), section[:40]
    told = " ".join(re.findall(r"- \*\*Told\*\*.*?(?=\n- \*\*)", text, re.DOTALL))
    assert kinds <= set(re.findall(r"`(\w+)`", told))


OPERATOR_GUIDES = [("guide-operator.md", "Gap reasons"), ("guide-operator.pl.md", "Powody przerw")]


@pytest.mark.parametrize(("guide", "heading"), OPERATOR_GUIDES)
def test_every_gap_reason_is_explained_to_operators(guide: str, heading: str) -> None:
    table = (HOUSE / "docs" / guide).read_text().split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:3] == "| `"]
    assert [row[0].strip("`") for row in rows] == [reason.value for reason in GapReason]
    assert all(len(row) == 4 and all(row) for row in rows)


@pytest.mark.parametrize("name", [name for name, _ in OPERATOR_GUIDES])
def test_status_words_are_explained_to_operators(name: str) -> None:
    source = (HOUSE / "vms" / "status" / "site_status.py").read_text()
    words = set(re.findall(r'(?:word=|Level\.\w+, )"([a-z ]+)"', source))
    words |= {"recording", "relaying", "connecting", "waiting", "settling", "stopped"}
    assert {"stale", "no answer", "recorder down", "switched off"} <= words
    guide = (HOUSE / "docs" / name).read_text()
    column = " ".join(re.findall(r"^\| ([^|`]+) \| [●◌✖-] \|", guide, re.MULTILINE))
    assert {word for word in words if word not in column} == set()


@pytest.mark.parametrize(("name", "language"), [("guide-operator.md", "en"), ("guide-operator.pl.md", "pl")])
def test_what_a_tile_says_is_explained_in_its_own_words(name: str, language: str) -> None:
    says = json.loads((HOUSE / "web/client/src/i18n" / f"{language}.json").read_text())["tile"]
    guide = (HOUSE / "docs" / name).read_text()
    words = (
        "live",
        "unaged",
        "checking",
        "lost",
        "unshowable",
        "full",
        "off",
        "no_right",
        "purpose",
        "archival",
        "sub",
        "transcoded",
    )
    assert [word for word in words if says[word] not in guide] == []


def test_the_operator_guide_is_as_whole_in_polish() -> None:
    english, polish = ((HOUSE / "docs" / name).read_text() for name, _ in OPERATOR_GUIDES)
    for pattern in (r"^#{1,3} ", r"^\| ", r"^!\[.*\]\(.*\)", r"^\d\. "):
        assert len(re.findall(pattern, polish, re.MULTILINE)) == len(re.findall(pattern, english, re.MULTILINE)), (
            pattern
        )
    lines = [
        [re.sub(r"\s+#.*", "", line) for _, block in code_blocks(text) for line in block.splitlines()]
        for text in (english, polish)
    ]
    assert lines[0] == lines[1]


# The house's rules


def house_files() -> Iterator[Path]:
    """Files of the house that hold text; not what is installed, cached or made at run time."""
    skipped = {"node_modules", "vms-data", "demo-data", "dist", "__pycache__", "regressions"}
    for path in HOUSE.iterdir():
        if path.is_file() and path.suffix in TEXT_SUFFIXES and path.name != ".git":  # of a worktree
            yield path
        elif path.is_dir() and path.name not in skipped and (path.name == ".ci" or not path.name.startswith(".")):
            yield from (
                p for p in path.rglob("*") if p.is_file() and p.suffix in TEXT_SUFFIXES and not skipped & set(p.parts)
            )


def test_no_file_names_a_path_of_one_machine() -> None:
    pattern = re.compile(r"/(?:work|home|root)/(?!stroz\b)[a-z.]\w*")
    found = {
        named(path): match[0]
        for path in house_files()
        if (match := pattern.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_keeps_the_rules(module: Path) -> None:
    source = module.read_text()
    tree = ast.parse(source)
    name = named(module)
    if not source.strip():
        return
    assert ast.get_docstring(tree), f"{name} does not say what it owns"
    assert len(source.splitlines()) <= LONGEST_FILE
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assert not re.search(r"(Manager|Helper|Util|Handler|Service|Base)s?$", node.name), node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, f"{name}: {node.name}"
        if isinstance(node, ast.ExceptHandler):
            caught = [n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)] if node.type else ["everything"]
            assert name == "vms/supervise.py" or not {"Exception", "everything"} & set(caught), f"{name}: {node.lineno}"


AT_HOME = {
    "minio": ("storage/objects/",),
    "sqlalchemy": ("storage/catalogue/",),
    "alembic": ("storage/catalogue/",),
    "aiosmtplib": ("vms/alarms/delivery.py",),
    "av": (
        "recorder/sources/libav_child.py",
        "storage/decoding_child.py",
        "vms/simulate/",
        "web/live/transcoding_child.py",
    ),
    "aiortc": ("web/live/",),
    "aioice": ("web/live/ice.py",),
    "pylibsrtp": ("web/live/srtp.py", "web/live/sender.py"),
}


@pytest.mark.parametrize("library", AT_HOME)
def test_a_library_is_imported_in_its_own_place_only(library: str) -> None:
    importing = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            if any(n == library or n.startswith(f"{library}.") for n in names):
                importing.add(named(module))
    assert importing
    assert {name for name in importing if not name.startswith(AT_HOME[library])} == set()
