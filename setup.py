"""Packaging: three top-level packages (echomox, workers, shm) and two commands.

Versions are bounded to what was measured and tested on CPython 3.11; aiosmtpd is exact, because
`echomox.smtpd` overrides parts of its internals.
"""

from pathlib import Path

from setuptools import find_packages, setup

VERSION = "0.1.0"

REQUIRES = [
    "uvloop>=0.21,<0.24",
    "aiosmtpd==1.4.6",
    "numpy>=2.2,<2.5",
    "dkimpy>=1.1.8,<1.2",
    "pyspf>=2.0.14,<2.1",
    "publicsuffixlist>=1.1.2.20261023,<2",
    "dnspython>=2.7,<3",
    "msgpack>=1.1,<2",
    "bottle>=0.13,<0.14",
    "waitress>=3.0,<4",
    "bcrypt>=4.2,<6",
    "argon2-cffi>=23.1,<26",
    "cryptography>=44",
    "google-re2>=1.1,<2",
    "idna>=3.7,<4",
    "precis-i18n>=1.1.1,<2",
    "selectolax>=0.3.27,<2",
    "setproctitle>=1.3.4,<2",
    "tomlkit>=0.13,<0.16",
]

PLOTS = ["pillow>=11,<14"]
"""For charts of `echomox filter` as PNG; 7 MB. SVG needs nothing."""

TEST = [
    *PLOTS,
    "aioimaplib>=2,<3",
    "aiosmtplib>=4,<6",
    "hypothesis>=6.120,<7",
    "imapclient>=3.0.1,<5",
    "lxml>=5.3,<7",
    "mypy>=1.14,<3",
    "pytest>=8.3,<10",
    "pytest-xdist>=3.6,<4",
    "PyYAML>=6,<7",
    "ruff>=0.9,<0.18",
    "scramp>=1.4.8,<1.6",
    "trustme>=1.2,<2",
]

setup(
    name="echomox",
    version=VERSION,
    description="A complete mail server with a spam filter that learns and explains itself",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["echomox", "echomox.*", "workers", "shm"]),
    package_data={"echomox": ["store/*.sql", "queue/*.sql", "filter/data/*"]},
    install_requires=REQUIRES,
    extras_require={"test": TEST, "plots": PLOTS},
    entry_points={
        "console_scripts": [
            "echomox = echomox.cli.main:main",
            "echomox-supervisor = echomox.cli.supervisor:main",
            "echomox-sendmail = echomox.cli.sendmail:main",
        ]
    },
)
