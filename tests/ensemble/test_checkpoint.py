"""A run that is killed at any moment and started again gives the same numbers to the last bit."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from finitewidth.ensemble import measure
from finitewidth.network import MLP

X = np.array([[1.2, 0.1, -0.4], [0.5, 0.9, 0.3]])
OBSERVABLES = ("metric", "vertex", "metric_cumulant3")


def network(activation="tanh", C_W=1.4):
    return MLP((3, 5, 5, 2), activation, C_b=0.1, C_W=C_W)


def run(samples=330, path=None, **options):
    arguments = {"key": 4, "method": "chain", "chunk_size": 50, "observables": OBSERVABLES}
    arguments |= {"checkpoint_seconds": 0.0, "checkpoint": path, "samples": samples}
    arguments |= {"net": network(), "x": X} | options
    return measure(**arguments)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name].value, b[name].value)
        np.testing.assert_array_equal(a[name].standard_error, b[name].standard_error)
        assert a[name].samples == b[name].samples


class Stop(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("stop_at", [50, 150, 300])
def test_an_interrupted_run_goes_on(tmp_path, stop_at):
    path = tmp_path / "run.npz"

    def stop(done, total):
        if done == stop_at:
            raise Stop

    with pytest.raises(Stop):
        run(path=path, progress=stop)
    seen = []
    resumed = run(path=path, progress=lambda done, total: seen.append(done))
    assert seen[0] == stop_at
    same(resumed, run())


SCRIPT = """
import sys
import numpy as np
from finitewidth.ensemble import measure
from finitewidth.network import MLP

def report(done, total):
    print(done, flush=True)

net = MLP((3, 40, 40, 2), "tanh", C_b=0.1, C_W=1.4)
x = [[1.2, 0.1, -0.4], [0.5, 0.9, 0.3]]
m = measure(net, x, ("metric", "vertex", "metric_cumulant3"), 12_000, 4, "chain", chunk_size=500,
            progress=report, checkpoint=sys.argv[1] or None, checkpoint_seconds=0.0)
np.savez(sys.argv[2], *(a for e in m.estimates.values() for a in (e.value, e.standard_error)))
"""


def start(checkpoint, result):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(checkpoint), str(result)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_process_goes_on_bit_for_bit(tmp_path):
    path, result, undisturbed = (tmp_path / n for n in ("run.npz", "a.npz", "b.npz"))
    killed_at = []
    for delay in (0.0, 0.013):
        process = start(path, result)
        assert process.stdout is not None
        begun = int(process.stdout.readline())
        # Kill somewhere inside a chunk or a write, wherever that happens to be.
        for line in process.stdout:
            if int(line) >= begun + 2000:
                time.sleep(delay)
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        killed_at.append(begun)
        # What a kill in the middle of a write leaves behind.
        (tmp_path / "run.npz.partial").write_bytes(path.read_bytes()[:100])
    assert killed_at[0] == 0
    assert killed_at[1] > 0
    assert not result.exists()
    last = start(path, result)
    assert last.stdout is not None
    assert int(last.stdout.readline()) > killed_at[1]
    last.stdout.read()
    assert last.wait() == 0
    whole = start("", undisturbed)
    whole.communicate()
    assert whole.returncode == 0
    with np.load(result) as a, np.load(undisturbed) as b:
        assert len(a.files) == 6
        for name in a.files:
            assert a[name].tobytes() == b[name].tobytes()
    assert not (tmp_path / "run.npz.partial").exists()


def test_a_finished_run_can_be_made_longer(tmp_path):
    path = tmp_path / "run.npz"
    same(run(130, path), run(130))
    same(run(130, path), run(130))
    same(run(400, path), run(400))
    same(run(430, path), run(430))


def test_a_shorter_run_than_the_stored_one_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    run(200, path)
    with pytest.raises(ValueError, match=r"already holds 200 networks.*got 100"):
        run(100, path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"net": network(C_W=1.5)}, "C_W"),
        ({"net": network("sin")}, "activation"),
        ({"net": network(lambda z: z / (1 + z**2))}, "activation"),
        ({"net": MLP((3, 5, 6, 2), "tanh", C_b=0.1, C_W=1.4)}, "widths"),
        ({"x": X + 1e-9}, "x"),
        ({"key": 5}, "key"),
        ({"chunk_size": 49}, "chunk_size"),
        ({"method": "weights"}, "method"),
        ({"observables": ("metric", "vertex")}, "observables"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, change, named):
    path = tmp_path / "run.npz"
    run(100, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"another run, which differs in .*{named}"):
        run(100, path, **change)
    assert path.read_bytes() == before


def test_functions_of_one_name_are_told_apart(tmp_path):
    path = tmp_path / "run.npz"
    run(100, path, net=network(lambda z: z / (1 + z**2)))
    with pytest.raises(ValueError, match="differs in activation"):
        run(100, path, net=network(lambda z: z / (2 + z**2)))


def test_layer_maps_are_part_of_the_run(tmp_path):
    path = tmp_path / "run.npz"
    options = {"observables": "metric"}
    run(100, path, control_variate=[lambda G: 0.5 * G] * 2, **options)
    run(100, path, control_variate=[lambda G: 0.5 * G] * 2, **options)
    with pytest.raises(ValueError, match="differs in control_variate"):
        run(100, path, control_variate=[lambda G: 0.6 * G] * 2, **options)


def halved(metric, ntk):
    return 0.5 * metric, 0.5 * ntk


@pytest.mark.parametrize("stop_at", [50, 100])
def test_an_interrupted_run_of_the_ntk_goes_on(tmp_path, stop_at):
    options = {"method": "weights", "observables": ("ntk", "A", "B", "D", "F")}
    options |= {"ntk_control_variate": [halved] * 2}
    path = tmp_path / "run.npz"

    def stop(done, total):
        if done == stop_at:
            raise Stop

    with pytest.raises(Stop):
        run(130, path, progress=stop, **options)
    same(run(130, path, **options), run(130, **options))
    options["ntk_control_variate"] = [lambda metric, ntk: (0.5 * metric, 0.6 * ntk)] * 2
    with pytest.raises(ValueError, match="differs in ntk_control_variate"):
        run(130, path, **options)


@pytest.mark.parametrize("damage", ["cut", "text", "npz", "empty"])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path, damage):
    path = tmp_path / "run.npz"
    run(100, path)
    whole = path.read_bytes()
    if damage == "npz":
        np.savez(path, a=np.ones(3))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    left = path.read_bytes()
    with pytest.raises(ValueError, match="wanted a file written by an earlier run"):
        run(100, path)
    assert path.read_bytes() == left


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"wanted a path that can be written.*No such file"):
        run(100, tmp_path / "nowhere" / "run.npz")
    with pytest.raises(ValueError, match="wanted a file, got the folder"):
        run(100, tmp_path)


def test_nothing_is_left_beside_the_checkpoint(tmp_path):
    run(330, tmp_path / "run.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    with np.load(tmp_path / "run.npz") as file:
        assert int(file["chunks"]) == 6
        assert json.loads(str(file["fingerprint"]))["widths"] == json.dumps([3, 5, 5, 2])
