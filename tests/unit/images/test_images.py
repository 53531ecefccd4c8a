"""Images of a stack's own: what makes another tag, what is missing of a build, and how an image is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from components.base.errors import FleetError
from components.images.images import build_hash, by_digest, plan_images
from components.images.settings import BuildImageSettings, MirrorImageSettings, original

if TYPE_CHECKING:
    from pathlib import Path

NGC = "nvcr.io/nvidia/tritonserver:26.07-py3"


def build(**values: Any) -> BuildImageSettings:
    return BuildImageSettings.model_validate({"kind": "build", "name": "fil", "context": "image", **values})


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    (folder / "backend").mkdir(parents=True)
    (folder / "Dockerfile").write_text(f"FROM {NGC}\nCOPY backend /opt/tritonserver/backends/mine\n")
    (folder / "backend" / "model.py").write_text("x = 1\n")
    return folder


def test_the_same_content_is_the_same_tag(context: Path, tmp_path: Path) -> None:
    first = build_hash(build(), context)
    assert first == build_hash(build(), context)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    assert [plan.tag for plan in plan_images([build()], tmp_path)] == [f"fil-{first}"]
    (context / ".git").mkdir()
    (context / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    assert build_hash(build(), context) == first, "version control is no part of a build"


def test_what_is_built_otherwise_has_another_tag(context: Path) -> None:
    seen = {build_hash(build(), context)}
    for settings in (build(platform="linux/arm64"), build(target="slim"), build(args={"A": "1"}), build(args={"A": "2"})):
        seen.add(build_hash(settings, context))
    (context / "backend" / "model.py").write_text("x = 2\n")
    seen.add(build_hash(build(), context))
    (context / "backend" / "model.py").chmod(0o755)
    seen.add(build_hash(build(), context))
    (context / "backend" / "link").symlink_to("model.py")
    seen.add(build_hash(build(), context))
    (context / "backend" / "link").rename(context / "backend" / "other")
    seen.add(build_hash(build(), context))
    assert len(seen) == 9


def test_a_mirror_s_tag_is_its_source_s(tmp_path: Path) -> None:
    mirrors = [MirrorImageSettings(kind="mirror", name="triton", source=source) for source in (NGC, NGC.replace("07", "06"))]
    tags = [plan.tag for plan in plan_images(mirrors, tmp_path)]
    assert len(set(tags)) == 2
    assert all(tag.startswith("triton-") and len(tag) == len("triton-") + 16 for tag in tags)


def test_all_that_is_missing_is_told_at_once(context: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    images = [build(context="nowhere"), build(context="file"), build(dockerfile="Containerfile"), build()]
    with pytest.raises(FleetError) as caught:
        plan_images(images, tmp_path)
    assert [str(problem).split(":")[1] for problem in caught.value.problems] == [
        "images[0].context (nowhere) does not exist",
        "images[1].context (file) is a file",
        "images[2].dockerfile (Containerfile) is not in image",
    ]
    assert context.is_dir()


def test_an_image_is_named_by_its_digest() -> None:
    assert by_digest("repo/x", "repo/x:fil-1@sha256:abc") == "repo/x@sha256:abc"
    assert by_digest("repo/x", "repo/x:fil-1") == "repo/x:fil-1", "a preview knows no digest yet"


def test_what_a_mirrored_image_can_run_is_known_by_its_source() -> None:
    images: list[BuildImageSettings | MirrorImageSettings] = [MirrorImageSettings(kind="mirror", name="triton", source=NGC), build()]
    assert original("triton", images) == NGC
    assert original("fil", images) == "fil"
    assert original(NGC, images) == NGC
