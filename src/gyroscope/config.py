"""The settings: one table for file, environment, command line, checks and reference page."""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import yaml

from gyroscope.errors import ConfigError, NotFoundError
from gyroscope.model import checked_model_name

FILE = "gyroscope.yaml"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of settings."""

    name: str
    default: Any
    unit: str  # "duration" reads 90s, 15m, 6h, 7d, 2w
    help: str
    low: float | None = None  # lowest number allowed (for durations: seconds)
    high: float | None = None
    choices: tuple[str, ...] = ()


WORKSPACE_SETTINGS = (
    Setting(
        name="state",
        default=".gyroscope",
        unit="folder",
        help="Where runs, versions, the prediction log and the control store are kept.",
    ),
    Setting(name="host", default="127.0.0.1", unit="address", help="Address the server binds."),
    Setting(
        name="port",
        default=8712,
        unit="port",
        low=0,
        high=65535,
        help="Port the server binds; 0 takes a free one.",
    ),
    Setting(
        name="clock",
        default="wall",
        unit="",
        choices=("wall", "log"),
        help="What the pilot takes for now: the wall clock, or the newest event time in the "
        "prediction log (for replays and demonstrations).",
    ),
    Setting(
        name="max_body_mb",
        default=10,
        unit="MB",
        low=0.01,
        high=1024,
        help="Largest request body; a larger one is answered 413.",
    ),
    Setting(
        name="max_rows",
        default=10_000,
        unit="rows",
        low=1,
        high=1_000_000,
        help="Most rows in one prediction request.",
    ),
    Setting(
        name="trusted_types",
        default=[],
        unit="",
        help="Full names of types, beside those that skops trusts by itself (not trees, nor "
        "neighbours' indexes), that may be built when an estimator of your own is loaded; their "
        "code runs.",
    ),
    Setting(
        name="spool",
        default="",
        unit="folder",
        help="Folder, best on another disk, where records wait while the disk of the prediction "
        "log takes nothing; the one for temporary files if empty.",
    ),
    Setting(
        name="spool_mb",
        default=64,
        unit="MB",
        low=0,
        help="Most records that wait there, for each model; 0 for none.",
    ),
    Setting(
        name="when_spool_full",
        default="refuse",
        unit="",
        choices=("refuse", "serve"),
        help="What happens then: requests are answered 503, or are answered although nothing of "
        "them is on record, which /readyz says.",
    ),
    Setting(
        name="compact_every",
        default="1h",
        unit="duration",
        low=1,
        help="How often the pilot has the prediction log moved into Parquet files.",
    ),
)

MODEL_SETTINGS = (
    Setting(
        name="candidates",
        default=["base_rate", "logistic_regression", "random_forest", "lightgbm", "xgboost"],
        unit="",
        help="Model families tried in training; there are also decision_tree, gradient_boosting, "
        "hist_gradient_boosting and catboost. By default xgboost is left out where its extra is "
        "not installed; named in the file it must be.",
    ),
    Setting(
        name="estimator",
        default="",
        unit="file",
        help="A scikit-learn estimator of your own, saved with skops, that is tried too; slower to "
        "serve than the families, and not explained.",
    ),
    Setting(
        name="most_rows",
        default=200_000,
        unit="rows",
        low=100,
        help="Rows that a candidate is fitted on at most, evenly taken from those for training; "
        "beyond this, more rows mostly add time.",
    ),
    Setting(
        name="metric",
        default="log_loss",
        unit="",
        choices=("log_loss", "roc_auc", "brier", "rmse", "mae"),
        help="What chooses between candidates, on the validation rows; for a target of numbers "
        "rmse (the default there) or mae.",
    ),
    Setting(
        name="cost_false_positive",
        default=None,
        unit="cost",
        low=0,
        help="Cost of acting on a negative; with cost_false_negative it sets the threshold.",
    ),
    Setting(
        name="cost_false_negative",
        default=None,
        unit="cost",
        low=0,
        help="Cost of missing a positive. Without both costs the threshold maximises F1.",
    ),
    Setting(name="seed", default=0, unit="", low=0, help="Seed of everything random."),
    Setting(
        name="window",
        default="1d",
        unit="duration",
        low=1,
        help="Length of the windows of event time that are checked.",
    ),
    Setting(
        name="label_lag",
        default="1d",
        unit="duration",
        low=0,
        help="How long after the end of a window its labels are complete enough to be judged.",
    ),
    Setting(
        name="min_rows",
        default=100,
        unit="rows",
        low=1,
        help='Fewer rows in a window give the verdict "not enough data".',
    ),
    Setting(
        name="keep_log",
        default=None,
        unit="duration",
        low=86400,
        help="How long records stay in the prediction log: predictions by event time, labels by "
        "arrival, in whole days of UTC. Without it they are kept.",
    ),
    Setting(
        name="false_alarms_per_year",
        default=1.0,
        unit="alarms/year",
        low=0.001,
        high=365,
        help="Warnings and alarms without a cause that all checks of the model together may raise "
        "in a year; see how it is spent with: gyro budget.",
    ),
    Setting(
        name="material_psi",
        default=0.02,
        unit="PSI",
        low=0,
        help="A column or score has drifted only if its PSI is surely above this; 0.02 is a shift "
        "of about a seventh of a standard deviation.",
    ),
    Setting(
        name="material_cost",
        default=0.01,
        unit="of the metric",
        low=0,
        help="Drift whose cost is surely below this worsening of the metric is harmless: a notice. "
        "Of rmse and mae it is a share of what they were when the model was new.",
    ),
    Setting(
        name="promotion_alpha",
        default=0.05,
        unit="probability",
        low=1e-6,
        high=0.5,
        help="Chance that a challenger which is not better is promoted, or that a canary is ended "
        "which is not worse.",
    ),
    Setting(
        name="minimum_improvement",
        default=0.001,
        unit="nats",
        low=0,
        help="Improvement of the mean log-loss below which a challenger is not worth promoting.",
    ),
    Setting(
        name="trial_length",
        default="28d",
        unit="duration",
        low=1,
        help="A challenger that has not proved itself by then is rejected.",
    ),
    Setting(
        name="probation",
        default="14d",
        unit="duration",
        low=1,
        help="How long the previous champion is kept scoring every row after a promotion.",
    ),
    Setting(
        name="cooldown",
        default="7d",
        unit="duration",
        low=0,
        help="Shortest time between two retrainings; it doubles with every failure in a row.",
    ),
    Setting(
        name="retrainings_per_year",
        default=24,
        unit="retrainings/year",
        low=0,
        help="Most retrainings the autopilot may start in 365 days.",
    ),
    Setting(
        name="retrain_rows",
        default=1000,
        unit="rows",
        low=40,
        help="Labelled rows since a change before challengers are trained on it; with fewer they "
        "would learn little and fail their gates.",
    ),
    Setting(
        name="recent_windows",
        default=[28, 90],
        unit="days",
        help="Lengths of the recent spans that challengers are trained on, beside all rows.",
    ),
)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``6h``, ``7d`` or ``2w``.

    Raises:
        ConfigError: anything else.
    """
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise ConfigError(f"{text!r} is not a duration; write for example 15m, 6h, 7d or 2w")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


class Settings(Mapping[str, Any]):
    """The effective values of one table, and where each came from.

    ``settings["window"]`` gives a checked value: durations as ``timedelta``.
    """

    def __init__(self, table: tuple[Setting, ...], given: Mapping[str, Any], where: str) -> None:
        known = {setting.name: setting for setting in table}
        for name in given:
            if name not in known:
                raise ConfigError(f"{where}: unknown setting {name!r}; known: {', '.join(known)}")
        self._values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        for name, setting in known.items():
            variable = f"GYROSCOPE_{name.upper()}"
            if variable in os.environ:
                value, source = yaml.safe_load(os.environ[variable]), variable
            elif name in given:
                value, source = given[name], where
            else:
                value, source = setting.default, "default"
            self._values[name] = _checked(setting, value, f"{source}, {name}")
            self.sources[name] = source

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _checked(setting: Setting, value: Any, where: str) -> Any:
    if value is None:
        if setting.default is None:
            return None
        raise ConfigError(f"{where}: a value is needed, for example {setting.default}")
    if setting.unit == "duration":
        value = duration(value)
        number: float | None = value.total_seconds()
    else:
        number = _number(setting, value, where)
    if setting.choices and value not in setting.choices:
        raise ConfigError(f"{where}: given {value!r}, expected one of {', '.join(setting.choices)}")
    if number is not None and setting.low is not None and number < setting.low:
        raise ConfigError(f"{where}: given {value}, expected at least {setting.low} {setting.unit}")
    if number is not None and setting.high is not None and number > setting.high:
        raise ConfigError(f"{where}: given {value}, expected at most {setting.high} {setting.unit}")
    return value


def _number(setting: Setting, value: Any, where: str) -> float | None:
    """The number to hold against the limits; ``None`` for settings that are not numbers."""
    if isinstance(setting.default, list):
        if not isinstance(value, list) or (setting.default and not value):
            raise ConfigError(
                f"{where}: given {value!r}, expected a list such as {setting.default or ['text']}"
            )
        return None
    if isinstance(setting.default, str):
        if not isinstance(value, str):
            raise ConfigError(
                f"{where}: given {value!r}, expected a text such as {setting.default}"
            )
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigError(f"{where}: given {value!r}, expected a number ({setting.unit})")
    if isinstance(setting.default, int) and value != int(value):
        raise ConfigError(f"{where}: given {value!r}, expected a whole number ({setting.unit})")
    return float(value)


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What ``gyroscope.yaml`` says about one model."""

    name: str
    data: Path  # training data, absolute
    contract: dict[str, Any]  # as written; see ``gyroscope.data.contract``
    settings: Settings


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole ``gyroscope.yaml``."""

    root: Path  # folder of the file
    settings: Settings
    models: dict[str, ModelConfig]

    @property
    def state(self) -> Path:
        """The folder for everything Gyroscope writes, absolute."""
        return Path(self.root, self.settings["state"]).resolve()

    def log_folder(self, model: str) -> Path:
        """Where the prediction log of a model is kept, absolute."""
        return self.state / "log" / model

    @property
    def spools(self) -> Path:
        """The folder of what waits while the disk of the state takes nothing, absolute.

        Each state folder has its own, so that its servers and commands find the same one.
        """
        root = Path(self.root, self.settings["spool"] or tempfile.gettempdir())
        digest = hashlib.blake2b(str(self.state).encode(), digest_size=8).hexdigest()
        return root / f"gyroscope-{os.getuid()}-{digest}"

    def spool_folder(self, model: str) -> Path:
        """Where records of a model wait while its log cannot be written, absolute."""
        return self.spools / model

    def model(self, name: str | None) -> ModelConfig:
        """The model called ``name``, or the only one if ``name`` is None.

        Raises:
            NotFoundError: no such model, or several and none named.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        known = ", ".join(sorted(self.models)) or "none yet; see gyro init"
        if name is None:
            raise NotFoundError(f"which model? This workspace has: {known}")
        if name not in self.models:
            raise NotFoundError(f"no model {name!r} in {self.root / FILE}; it has: {known}")
        return self.models[name]


def metric_of(settings: Settings, task: str) -> str:
    """The setting ``metric`` of a model; by default one that suits its task.

    Raises:
        ConfigError: it is one of another task.
    """
    metric: str = settings["metric"]
    of_values = ("rmse", "mae")
    if settings.sources["metric"] == "default":
        return of_values[0] if task == "regression" else metric
    if (metric in of_values) != (task == "regression"):
        fitting = of_values if task == "regression" else ("log_loss", "roc_auc", "brier")
        raise ConfigError(
            f"setting metric: {metric} is not for a {task} target; use {' or '.join(fitting)}"
        )
    return metric


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would keep only the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if isinstance(key, str) and key in known:
                raise yaml.YAMLError(f"{key!r} stands twice, in lines {known[key]} and {line}")
            known[key if isinstance(key, str) else id(key_node)] = line
        return super().construct_mapping(node, deep)


def load_config(root: Path) -> Config:
    """Read ``gyroscope.yaml`` in the folder ``root``.

    Raises:
        ConfigError: the file is missing, is not YAML, or has a wrong or unknown field.
    """
    path = root / FILE
    if not path.is_file():
        raise ConfigError(
            f"no {FILE} in {root.resolve()}; make one with: gyro init DATA --target COLUMN"
        )
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path}: expected the keys 'workspace' and 'models'")
    for key in document:
        if key not in ("workspace", "models"):
            raise ConfigError(f"{path}: unknown key {key!r}; known: workspace, models")
    workspace = _mapping(document.get("workspace"), f"{path}: workspace")
    models = _mapping(document.get("models"), f"{path}: models")
    return Config(
        root=root.resolve(),
        settings=Settings(WORKSPACE_SETTINGS, workspace, f"{FILE}: workspace"),
        models={str(name): _model(root, str(name), given) for name, given in models.items()},
    )


def _model(root: Path, name: str, given: Any) -> ModelConfig:
    where = f"{FILE}: models.{name}"
    fields = _mapping(given, where)
    for key in fields:
        if key not in ("data", "contract", "settings"):
            raise ConfigError(f"{where}: unknown key {key!r}; known: data, contract, settings")
    if not isinstance(fields.get("data"), str):
        raise ConfigError(f"{where}: 'data' must be the path of the training data")
    return ModelConfig(
        name=checked_model_name(name),
        data=(root / fields["data"]).resolve(),
        contract=_mapping(fields.get("contract"), f"{where}.contract"),
        settings=Settings(
            MODEL_SETTINGS,
            _mapping(fields.get("settings"), f"{where}.settings"),
            f"{where}.settings",
        ),
    )


def _mapping(given: Any, where: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: expected fields, given {type(given).__name__}")
    return dict(given)
