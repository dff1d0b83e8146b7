"""The import order of the house, and the check that holds it: a module imports its own package and what stands
earlier in ORDER, never later. Run as a script, or through tests/unit/test_layers.py."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ORDER = (
    "echomox.errors", "echomox.clock", "echomox.log", "shm", "echomox.message", "echomox.dns", "echomox.imap",
    "echomox.sasl", "echomox.reservoir", "echomox.mailauth", "echomox.tlspolicy", "echomox.config", "echomox.store",
    "echomox.queue", "echomox.outbound", "echomox.ipc", "echomox.filter", "echomox.net", "echomox.delivery",
    "echomox.reports", "echomox.smtpd", "echomox.imapd", "echomox.web", "echomox.supervisor", "workers", "echomox.cli",
)  # fmt: skip
ROOT = Path(__file__).parents[1]


def layer(module: str) -> int | None:
    """The place in ORDER of a dotted name; None for what is not ours; `echomox` alone stands before all."""
    if module == "echomox":
        return -1
    for place, name in enumerate(ORDER):
        if module == name or module.startswith(name + "."):
            return place
    return None if module.split(".")[0] not in ("echomox", "workers", "shm") else len(ORDER)


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import of a file; of `from a import b` both a and a.b."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def violations() -> list[str]:
    wrong = []
    for top in ("shm", "echomox", "workers"):
        for path in sorted((ROOT / top).rglob("*.py")):
            own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            here = layer(own)
            for line, module in imports(path):
                there = layer(module)
                if here is not None and there is not None and there > here:
                    wrong.append(f"{path.relative_to(ROOT)}:{line}: {own} imports {module}, which stands later")
    return wrong


if __name__ == "__main__":
    found = violations()
    print("\n".join(found) or "layers: in order")
    sys.exit(bool(found))
