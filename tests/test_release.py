"""`make release`: what it refuses, and what it changes, in a small repository."""

import subprocess
from pathlib import Path

import pytest

from .scripts import imported

SCRIPT = Path(__file__).parents[1] / ".ci" / "release.py"
CHANGELOG = "# Changelog\n\n## Unreleased (1.2.0)\n\n- New.\n\n## 1.1.0\n\n- Old.\n"
ADDRESS = "https://example.org/a/b"


@pytest.fixture(scope="module")
def script():
    return imported(SCRIPT)


def git(root, *arguments):
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (tmp_path / "src" / "hiresnn").mkdir(parents=True)
    (tmp_path / "src" / "hiresnn" / "version.py").write_text('__version__ = "1.1.0"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 1.1.0\nlicense: MIT\n")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{ADDRESS}"\n')
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "First")
    return tmp_path


def test_a_release_sets_the_version_dates_the_changelog_commits_and_tags(script, root):
    git(root, "remote", "add", "origin", "git@example.org:a/b.git")
    assert "v1.2.0" in script.release("1.2.0", root, build=("true",))
    assert '__version__ = "1.2.0"\n' in (root / "src" / "hiresnn" / "version.py").read_text()
    citation = (root / "CITATION.cff").read_text().splitlines()
    assert citation[:2] == ["cff-version: 1.2.0", "version: 1.2.0"]
    date = citation[2].removeprefix("date-released: ")
    assert (root / "CHANGELOG.md").read_text() == CHANGELOG.replace("Unreleased (1.2.0)", f"1.2.0 ({date})")
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "log", "-1", "--format=%s %D").startswith("Version 1.2.0 HEAD")
    assert git(root, "cat-file", "-t", "v1.2.0") == "tag"


@pytest.mark.parametrize(
    ("version", "change", "message"),
    [
        ("1.2", "", "VERSION is '1.2'"),
        ("1.3.0", "", "no section"),
        ("1.1.0", "git tag v1.1.0", "tag v1.1.0 exists"),
        ("1.2.0", "touch new.txt", r"not clean \(\?\? new.txt\)"),
        ("1.2.0", "sed -i /New/d CHANGELOG.md; git commit -qam Empty", "is empty"),
        ("1.2.0", "git remote add origin https://example.org/a/c.git", "the remote origin is https://example.org/a/c;"),
    ],
)
def test_what_cannot_be_released_is_refused_and_changes_nothing(script, root, version, change, message):
    subprocess.run(change, shell=True, cwd=root, check=True)
    state = git(root, "log", "--format=%H"), git(root, "status", "--porcelain")
    with pytest.raises(script.ReleaseError, match=message):
        script.release(version, root, build=("true",))
    assert (git(root, "log", "--format=%H"), git(root, "status", "--porcelain")) == state


def test_a_package_that_fails_its_checks_is_not_tagged(script, root):
    with pytest.raises(script.ReleaseError, match=r"false failed, so version 1\.2\.0 is committed but not tagged"):
        script.release("1.2.0", root, build=("false",))
    assert git(root, "tag", "--list") == ""
    assert git(root, "log", "-1", "--format=%s") == "Version 1.2.0"
