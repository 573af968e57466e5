"""The files of ``examples/image_pipeline``: albums share pictures, so that two tasks write one."""

import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "image_pipeline"


def test_a_picture_may_be_written_by_many_at_once(tmp_path: Path) -> None:
    pictures = runpy.run_path(str(EXAMPLE / "pictures.py"))
    picture = pictures["Picture"](2, 2, [b"\x00\xff", b"\xff\x00"])
    path = tmp_path / "shared.pgm"

    with ThreadPoolExecutor(4) as pool:
        for written in [pool.submit(pictures["write"], picture, path) for _ in range(400)]:
            written.result()

    assert pictures["read"](path) == picture
    assert list(tmp_path.iterdir()) == [path]
