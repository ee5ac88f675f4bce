"""Fixtures of the command line's tests."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from host import cli
from tests.host import fake, files

Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """model.bin, tokenizer.bin and both as the folder stories, images of the fake, text.txt."""
    path = tmp_path_factory.mktemp("files")
    files.write_checkpoint(path / "model.bin")
    files.write_tokenizer(path / "tokenizer.bin")
    files.write_folder(path / "stories")
    fake.image().save(path / "resident.image")
    fake.image(streamed=True).save(path / "streamed.image")
    (path / "text.txt").write_text("a cab called a deaf\n<|endoftext|>\nfeed me  a bad egg\n")
    return path


@pytest.fixture
def run(capfd) -> Run:
    """Runs a command in this process: status, out, err."""

    def call(*arguments: object) -> SimpleNamespace:
        capfd.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return call


@pytest.fixture(autouse=True)
def shipped(folder, monkeypatch) -> Path:
    """The small model in the place of the one that ships."""
    monkeypatch.setattr("host.cli.sources.SHIPPED_MODEL", folder / "stories")
    return folder / "stories"


@pytest.fixture
def fake_golden(monkeypatch) -> list[fake.FakeDevice]:
    """Puts a fake in the golden device's place; the devices that were opened."""
    opened: list[fake.FakeDevice] = []

    def open_fake(configuration):
        opened.append(fake.FakeDevice(opened.streamed, configuration))
        return opened[-1]

    class Opened(list):
        streamed = False

    opened = Opened()
    monkeypatch.setattr("host.transport.golden.GoldenTransport", open_fake)
    return opened
