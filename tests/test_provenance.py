"""Where an artifact comes from."""

from sastdeploy import provenance


def test_the_commit_is_asked_once_per_process_before_its_work(monkeypatch):
    answers = iter(["abc", "", "changed meanwhile", " M file"])
    monkeypatch.setattr(provenance, "_git", lambda *_: next(answers))
    monkeypatch.setattr(provenance.Path, "exists", lambda path: True)
    provenance.git_commit.cache_clear()
    try:
        assert [provenance.git_commit(), provenance.git_commit()] == ["abc", "abc"]
    finally:
        provenance.git_commit.cache_clear()
