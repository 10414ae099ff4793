"""`--use`, and what records and saved states note of the plugins they need."""

from __future__ import annotations

import json

import pytest

from edgecl.errors import BadInput
from edgecl.methods import ER, METHODS
from edgecl.plugins import PluginError, check_provenance, guard_plugin, provenance, use

MINE = '''
from edgecl.methods import ER, METHODS
from edgecl.options import option
from edgecl.parsing import real

@METHODS.register
class Mine(ER):
    """ER with a temperature."""

    name = "{name}"
    {name}_tau: float = option(2.0, real(0.0, True), "temperature of nothing")
'''


@pytest.fixture
def own_methods():
    """METHODS as it was, after the test."""
    before = dict(METHODS.loaded()), dict(METHODS._origins)
    yield METHODS
    METHODS._entries, METHODS._origins = before


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(name="mine"))
    return path


@pytest.fixture(scope="session")
def er_ace(install):
    return install("methods")


@pytest.fixture
def edgecl(python):
    """edgecl(*arguments, packages=()) -> CompletedProcess of the command."""

    def call(*arguments: object, packages=()):
        said = [*map(str, arguments)]
        code = f"import sys; from edgecl.__main__ import main; sys.argv[1:] = {said!r}; sys.exit(main())"
        return python(code, *packages)

    return call


def small(stream) -> list[object]:
    return ["--stream", stream, "--network", "mlp", "--batch", 16, "--memory", 24, "--epochs", 1]


def test_a_file_is_imported_once_and_what_it_registers_can_be_named(mine, own_methods):
    use(mine)
    first = METHODS.get("mine")
    use([str(mine)])
    assert METHODS.get("mine") is first and first(mine_tau=3).mine_tau == 3.0
    (noted,) = provenance({"method": "mine", "network": "cnn", "memory_policy": "ring"})
    assert noted["kind"] == "method" and noted["name"] == "mine" and noted["package"] is None
    assert check_provenance([noted]) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [("nowhere.py", "no file"), ("no_such_module_here", "no module"), ("no_such.module", "no module"), (".", "no ")],
)
def test_what_is_not_there_is_refused(what, words):
    with pytest.raises(BadInput, match=words):
        use(what)


def test_a_file_that_fails_is_named_and_may_be_mended(tmp_path, own_methods):
    path = tmp_path / "half.py"
    path.write_text("import no_such_package_of_its_own")
    with pytest.raises(PluginError, match=r"half\.py.*no_such_package_of_its_own"):
        use(path)
    path.write_text(MINE.format(name="half"))
    use(path)
    assert "half" in METHODS


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ({"module": "gone", "package": "gone-cl", "version": "0.3", "entry_point": "edgecl.methods:gone"},
         ["gone-cl 0.3", "edgecl.methods:gone", "not installed"]),
        ({"module": "gone_1234", "package": None, "version": None, "entry_point": None}, ["gone_1234", "--use"]),
    ],
)  # fmt: skip
def test_a_state_that_needs_a_plugin_that_is_not_there_is_refused_with_what_it_needs(then, words):
    with pytest.raises(BadInput) as refused:
        check_provenance([{"option": "method", "kind": "method", "name": "gone", **then}])
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize("damaged", [[3], [{"option": {}}], ["method"], [{"name": ["er"], "option": "method"}]])
def test_a_damaged_note_is_refused(damaged):
    with pytest.raises(BadInput):
        check_provenance(damaged)


def test_another_version_is_a_warning_and_ours_needs_no_note(own_methods):
    then = {"module": "m", "package": "gone-cl", "version": "0.3", "entry_point": "edgecl.methods:er"}
    assert provenance({"method": "er", "network": "cnn", "stream": "split-mnist5k"}) == []
    assert check_provenance([{"option": "method", "kind": "method", "name": "er", **then}]) == []  # ours by now


def test_what_a_plugin_raises_names_it_and_its_hook_and_our_own_errors_pass(own_methods):
    @own_methods.register
    class Faulty(ER):
        name = "faulty"

    said = r"'faulty' of module .* failed in end_task: KeyError"
    with pytest.raises(PluginError, match=said) as failed, guard_plugin(Faulty(), "end_task"):
        raise KeyError("features")
    assert isinstance(failed.value.__cause__, KeyError)
    with pytest.raises(BadInput, match="its own words"), guard_plugin(Faulty(), "end_task"):
        raise BadInput("its own words", "")
    with pytest.raises(KeyError), guard_plugin(ER(), "end_task"):
        raise KeyError("a bug of ours")
    with pytest.raises(KeyboardInterrupt), guard_plugin(Faulty(), "end_task"):
        raise KeyboardInterrupt


def test_a_used_method_and_its_options_are_in_the_help_of_the_same_call(edgecl, mine, er_ace):
    shown = edgecl("run", "--use", mine, "--help", packages=[er_ace]).stdout
    assert "|mine" in shown.replace("\n", "").replace(" ", "") and "Method mine:" in shown
    assert "--mine-tau X" in shown and "temperature of nothing [default: 2.0]" in " ".join(shown.split())
    assert "Method ace:" in shown and "--tau X" in shown
    assert "--mine-tau" not in edgecl("run", "--help").stdout


def test_a_run_by_a_used_method_is_recorded_and_needs_it_again(edgecl, mine, stream, tmp_path):
    done = edgecl("run", f"--use={mine}", *small(stream), "--method", "mine", "--mine-tau", 4, "--out", "o")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["config"]["mine_tau"] == 4.0 and record["config"]["method"] == "mine"
    assert [p["name"] for p in record["plugins"]] == ["mine"] and record["plugins"][0]["package"] is None
    for arguments in (["--resume", "o"], ["--config", "o/run.json"]):
        refused = edgecl("run", *arguments)
        assert refused.returncode == 2 and "'mine'" in refused.stderr and "--use" in refused.stderr
        again = edgecl("run", *arguments, "--use", mine)
        assert again.returncode == 0, again.stderr


def test_a_run_by_an_installed_method_names_its_package_and_another_version_only_warns(
    edgecl, stream, tmp_path, er_ace, install
):
    done = edgecl("run", *small(stream), "--method", "ace", "--tau", 0.5, "--out", "o", packages=[er_ace])
    assert done.returncode == 0, done.stderr
    (noted,) = json.loads((tmp_path / "o" / "run.json").read_text())["plugins"]
    assert (noted["package"], noted["version"]) == ("edgecl-er-ace", "1.2")
    refused = edgecl("run", "--config", "o/run.json")
    assert refused.returncode == 2
    assert all(w in refused.stderr for w in ("edgecl-er-ace 1.2", "edgecl.methods:ace", "not installed"))
    newer = edgecl("run", "--config", "o/run.json", packages=[install("methods", version="1.3")])
    assert newer.returncode == 0 and "1.3" in newer.stderr and newer.stderr.startswith("warning: ")


def test_former_names_on_the_command_line_still_work(edgecl, stream):
    done = edgecl("plan", *small(stream), "--model", "mlp", "--mask", "static", "--sparsity", 0.5, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["sparsity_policy"] == "static"
    assert done.stderr == "warning: The option 'mask' is called 'sparsity_policy' now.\n"


def test_a_learner_takes_a_file_to_use_and_is_opened_with_it(python, mine):
    made = python(f"""
import numpy as np
from edgecl import Learner
options = dict(network="mlp", input_shape=(1, 8, 8), method="mine", mine_tau=3, path="saved")
with Learner(**options, use={str(mine)!r}) as learner:
    learner.observe(np.zeros((4, 1, 8, 8), np.uint8), [0, 1, 0, 1])
    learner.learn(steps=2)
    learner.save()
""")
    assert made.returncode == 0, made.stderr
    opened = python("from edgecl import Learner; Learner.open('saved')")
    assert "'mine'" in opened.stderr and "use=" in opened.stderr
    code = f"from edgecl import Learner; print(Learner.open('saved', use={str(mine)!r}).core.parts.method)"
    assert python(code).stdout == "Mine(current_loss='full', replay_forward='joint', mine_tau=3.0)\n"
