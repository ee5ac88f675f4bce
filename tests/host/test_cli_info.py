"""spikelet info and eval on small files."""

import re

from isa.configurations import CONFIGURATIONS


def test_configurations_are_listed(run):
    result = run("info")
    assert result.status == 0
    assert [line.split()[0] for line in result.out.splitlines()] == list(CONFIGURATIONS)


def test_configuration(run):
    out = run("info", "ulx3s").out
    assert re.search(r"cores +4\n", out) and re.search(r"lanes +64\n", out)
    assert f"{CONFIGURATIONS['ulx3s'].identity:08x}" in out


def test_checkpoint(run, folder):
    out = run("info", folder / "model.bin").out
    # embedding, norms, attention, mlp; the head is the embedding
    size = 23 * 16 + 16 + 2 * (2 * 16 + 16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 24)
    assert re.search(rf"parameters +{size:,}\n", out)
    assert re.search(r"heads +4 query, 2 key/value, size 4\n", out)
    assert re.search(r"vocabulary +23 tokens, head tied\n", out)


def test_image(run, folder):
    out = run("info", folder / "streamed.image").out
    assert re.search(r"configuration +tiny \(", out)
    assert re.search(r"loaded +40,008 words: program 40,000, schedule 8\n", out)
    assert re.search(r"streamed a token +18 words\n", out)
    assert re.search(r"end token +none\n", out)


def test_eval(run, folder):
    result = run("eval", "--model", folder / "model.bin", "--tokenizer", folder / "tokenizer.bin",
                 "--text", folder / "text.txt")
    assert result.status == 0, result.err
    float_value = float(re.search(r"perplexity, float +([\d.]+)", result.out)[1])
    spiking, ratio = re.search(r"perplexity, spiking +([\d.]+) \(([-+.\d]+)%", result.out).groups()
    assert abs((float(spiking) / float_value - 1) * 100 - float(ratio)) < 0.01
    assert abs(float(ratio)) < 10  # a random model on 36 tokens: the same order, not a bound
    assert "2 documents" in result.out and "spiking: document 1/2" in result.err
