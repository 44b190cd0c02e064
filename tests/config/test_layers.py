import pytest

from marlx import config, registry
from marlx.cli.options import parse_train
from marlx.config import layers as config_layers
from marlx.config.coerce import coerce
from marlx.config.layers import Layer, merge
from marlx.config.yaml_text import dump, parse

FORAGING = "Foraging-8x8-2p-2f-coop-v3"


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        ("1e6", int, 1_000_000),
        (2.0, int, 2),
        ("500_000", int, 500_000),
        ("3e-4", float, 3e-4),
        (1, float, 1.0),
        ("false", bool, False),
        (None, int | None, None),
        ("none", int | None, None),
        ("3", int | None, 3),
        ([8, "9"], tuple[int, int], (8, 9)),
        ([64, 32], tuple[int, ...], (64, 32)),
        ([[1, 0], [0, 1]], str, "[[1, 0], [0, 1]]"),
    ],
)
def test_values_become_what_the_setting_holds(value, hint, result):
    coerced = coerce(value, hint)
    assert coerced == result and type(coerced) is type(result)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (2.5, int, "a whole number"),
        (True, int, "a whole number"),
        ("inf", int, "a whole number"),
        ("x", float, "a number"),
        (1, bool, "true or false"),
        ([1], tuple[int, int], "2 values"),
        (3, tuple[int, ...], "a list"),
        ("x", int | None, "a whole number or none"),
        (3, str, "text"),
    ],
)
def test_values_of_the_wrong_type_are_answered_in_words(value, hint, expected):
    with pytest.raises(ValueError, match=f"expected {expected}, got|expected {expected}"):
        coerce(value, hint)


def test_yaml_reads_numbers_and_words_as_people_write_them():
    text = "lr: 3e-4\nwandb: off\nsteps: 2_000_000\ndouble: true\nn: 8\nx: -1.5e3\nid: 8x8-v3"
    assert parse(text, "f") == {
        "lr": 3e-4,
        "wandb": "off",
        "steps": 2_000_000,
        "double": True,
        "n": 8,
        "x": -1500.0,
        "id": "8x8-v3",
    }


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: [", "- 1", "3: 4"])
def test_bad_yaml_is_one_line_with_the_file(text):
    with pytest.raises(ValueError, match=r"settings\.yaml") as error:
        parse(text, "settings.yaml")
    assert "\n" not in str(error.value)


def test_later_layers_win_and_unknown_keys_name_source_and_nearest():
    known = {"steps": int, "learner": {"lr": float, "batch": int}}
    layers = [Layer("a", {"steps": 1, "learner": {"lr": 1}}), Layer("b", {"learner": {"batch": 2}})]
    assert merge(known, layers) == {"steps": 1, "learner": {"lr": 1.0, "batch": 2}}
    with pytest.raises(ValueError, match=r"'learner.bach' in my.yaml; did you mean learner.batch"):
        merge(known, [Layer("my.yaml", {"learner": {"bach": 2}})])
    with pytest.raises(ValueError, match=r"learner.lr in my.yaml: expected a number, got 'x'"):
        merge(known, [Layer("my.yaml", {"learner": {"lr": "x"}})])
    with pytest.raises(ValueError, match=r"learner in my\.yaml is 3"):
        merge(known, [Layer("my.yaml", {"learner": 3})])


def test_order_of_sources(tiny_algorithm, tmp_path, monkeypatch):
    """Dataclass < preset < preset for the environment < file < keyword."""
    preset = tmp_path / "tiny.yaml"
    preset.write_text(
        "defaults: {total_steps: 10, num_envs: 2, evals: 3, seeds: 2, learner: {lr: 1}}\n"
        "environments:\n"
        "  Foraging-2s-.*: {num_envs: 99}\n"
        "  foraging: {num_envs: 4, evals: 5, seeds: 3, env: {sight: 3}}\n"
        "  .*: {num_envs: 98}\n"
    )
    mine = tmp_path / "mine.yaml"
    mine.write_text("evals: 6\nseeds: 4\nenv: {horizon: 7}\n")
    monkeypatch.setattr(config_layers.importlib.resources, "files", lambda _: tmp_path)
    chosen = config.experiment("tiny", FORAGING, file=mine, seeds=5)
    train = chosen.train
    assert (train.eval_episodes, train.total_steps) == (128, 10)
    assert (train.num_envs, train.evals, train.seeds) == (4, 6, 5)
    assert chosen.learner.lr == 1.0
    assert (chosen.env.sight, chosen.env.horizon) == (3, 7)
    assert config.experiment("tiny", "matrix/climbing").train.num_envs == 98


def test_an_algorithms_own_preset_is_over_the_one_that_it_shares(tmp_path, monkeypatch):
    (tmp_path / "q_learning.yaml").write_text(
        "defaults: {num_envs: 2, evals: 3}\nenvironments: {foraging: {evals: 4, seeds: 2}}\n"
    )
    (tmp_path / "qplex.yaml").write_text("defaults: {evals: 5}\n")
    monkeypatch.setattr(config_layers.importlib.resources, "files", lambda _: tmp_path)
    of = {name: config.experiment(name, FORAGING).train for name in ("qmix", "qplex")}
    assert (of["qmix"].num_envs, of["qmix"].evals, of["qmix"].seeds) == (2, 4, 2)
    assert (of["qplex"].num_envs, of["qplex"].evals, of["qplex"].seeds) == (2, 5, 2)


def test_a_preset_may_start_from_another_one(tiny_algorithm, tmp_path, monkeypatch):
    """Entries for environments are replaced as a whole, in their place; new ones come first."""
    (tmp_path / "shared.yaml").write_text(
        "defaults: {num_envs: 2, evals: 3}\n"
        "environments: {foraging: {evals: 4, seeds: 2}, matrix: {evals: 5}, .*: {evals: 6}}\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        "base: shared\ndefaults: {num_envs: 8}\n"
        "environments: {foraging: {seeds: 3}, grid/doorkey-6x6: {evals: 7}}\n"
    )
    monkeypatch.setattr(config_layers.importlib.resources, "files", lambda _: tmp_path)

    def of(env_id):
        train = config.experiment("tiny", env_id).train
        return train.num_envs, train.evals, train.seeds

    assert of(FORAGING) == (8, 3, 3)
    assert of("matrix/climbing") == (8, 5, 1)
    assert of("grid/doorkey-6x6") == (8, 7, 1)
    assert of("grid/doorkey-8x8-2p") == (8, 6, 1)


def test_parts_of_a_composite_have_settings_and_presets_of_their_own(
    tiny_algorithm, tmp_path, monkeypatch
):
    (tmp_path / "tiny.yaml").write_text("defaults: {seeds: 3, learner: {lr: 0.125}}")
    (tmp_path / "pair.yaml").write_text("defaults: {learner: {second: {batch: 2}}}")
    monkeypatch.setattr(config_layers.importlib.resources, "files", lambda _: tmp_path)
    chosen = config.experiment("pair", FORAGING, learner={"second": {"lr": 2}})
    assert chosen.train.seeds == 3
    assert (chosen.learner.first.lr, chosen.learner.second.lr) == (0.125, 2.0)
    assert (chosen.learner.first.batch, chosen.learner.second.batch) == (4, 2)
    assert chosen.settings()["learner"]["second"] == {"lr": 2.0, "batch": 2, "capacity": 8}

    experiment, _ = parse_train(
        ["pair", FORAGING], ["--learner.second.lr", "1e-2", "--learner.share=1"]
    )
    assert (experiment.learner.first.lr, experiment.learner.second.lr) == (0.125, 0.01)
    assert experiment.learner.share == 1.0
    with pytest.raises(ValueError, match=r"learner\.secnd.*second"):
        config.experiment("pair", FORAGING, learner={"secnd": {"lr": 2}})
    with pytest.raises(ValueError, match="a batch needs 9"):
        config.experiment("pair", FORAGING, learner={"second": {"batch": 9}})


def by_presets():
    """Algorithms, those that read the same preset as another among the slow."""
    kept = ("qmix", "ippo", "maa2c", "mansa", "mansa_ppo", "gmah", "gmah_q", "clam")
    slow = pytest.mark.slow
    return [
        pytest.param(name, marks=() if name in kept else slow) for name in registry.algorithms()
    ]


@pytest.mark.parametrize("algorithm", by_presets())
def test_presets_hold_for_every_example(algorithm):
    """No preset names a setting that is not there, or a value that is refused."""
    for family in registry.families().values():
        for env_id in family.examples:
            config.experiment(algorithm, env_id)


def test_settings_written_are_settings_read(tmp_path):
    first = config.experiment("qmix", FORAGING, seeds=3, env={"sight": 2}, learner={"lr": 1e-5})
    (tmp_path / "config.yaml").write_text(dump(first.settings()))
    assert config.experiment(file=tmp_path / "config.yaml") == first


def test_a_payoff_table_survives_the_file(tmp_path):
    first = config.experiment("iql", "matrix/custom", env={"payoff": [[1, 2], [3, 4]]})
    (tmp_path / "config.yaml").write_text(dump(first.settings()))
    assert config.experiment(file=tmp_path / "config.yaml").env == first.env


def test_names_can_be_left_to_a_file_only_if_it_has_them(tmp_path):
    (tmp_path / "a.yaml").write_text("algorithm: qmix\n")
    with pytest.raises(ValueError, match="no environment given"):
        config.experiment(file=tmp_path / "a.yaml")
