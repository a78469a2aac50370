"""Folders that are done with go, whatever is in them, and nothing that a link in their place leads to."""

from __future__ import annotations

from pathlib import Path

from flyte_build.kernel.files import remove_tree


def test_what_is_in_a_folder_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for path in ("file", "empty/", "deep/er/file"):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir()
        else:
            place.write_text("x")
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []
    remove_tree(folder)


def test_links_are_not_followed(tmp_path: Path) -> None:
    kept, folder, link = tmp_path / "kept", tmp_path / "folder", tmp_path / "link"
    kept.mkdir()
    (kept / "file").write_text("x")
    folder.mkdir()
    (folder / "inside").symlink_to(kept)
    link.symlink_to(kept)
    remove_tree(folder)
    remove_tree(link)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "link"]
    assert (kept / "file").read_text() == "x"
