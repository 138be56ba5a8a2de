"""The check of the performance page's figures: names of clip paths may differ, nothing else."""

from benchmarks.speed.report import FIGURES, drawing


def test_clip_paths_have_other_names_on_other_processors_and_all_else_is_compared(tmp_path):
    path = FIGURES / "speed-growth.svg"
    text, other = path.read_text("utf-8"), tmp_path / "other.svg"
    name = text.split("url(#")[1].split(")")[0]
    other.write_text(text.replace(name, "p0123456789"), "utf-8")
    assert drawing(other) == drawing(path) and other.read_text("utf-8") != text
    other.write_text(text.replace(f"url(#{name})", "url(#p0123456789)", 1), "utf-8")
    assert drawing(other) != drawing(path)
    other.write_text(text.replace("stroke-width: 1.5", "stroke-width: 1.6", 1), "utf-8")
    assert drawing(other) != drawing(path)
