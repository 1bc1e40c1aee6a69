"""Run one training from its file to a model folder, resuming an earlier one that was stopped."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from pipeline.decoding import decode, encode
from pipeline.engine.ledger import differences
from pipeline.errors import OutputError, RequestError
from pipeline.files.atomic import atomic_write, remove_stale_temporaries
from pipeline.models.card import FORMAT, Card, Domain, Normalization
from pipeline.models.inference.device import choose_device, fast_in_bf16
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import save_model
from pipeline.training.calibration import temperature_of
from pipeline.training.config import Training, TrainingResources
from pipeline.training.dataset import TrainingPatches, ValidationPatches, close_all
from pipeline.training.dataset_statistics import (
    ItemStatistics,
    collect_statistics,
    domain_of,
    items_of,
    normalization_of,
)
from pipeline.training.initialize import initialize_from
from pipeline.training.items import find_items
from pipeline.training.module import Learner, coarser
from pipeline.training.patch import Sample
from pipeline.training.teacher import Teachers

_DESCRIPTIVE = ("license", "credits", "limits")
"""What a training says of its model and does not depend on."""
_RECIPE = ("data", "network", "samples", "augmentation", "loss", "teacher", "schedule", "seed")
_FIRST_LINE_AFTER = 10
"""Steps after which a training reports its speed."""
STATE, LAST, BEST, MODEL = "training.json", "last", "best", "model"
Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training."""

    folder: Path
    """Of the model."""
    steps: int
    figures: dict[str, float]
    """Of the best validation; empty if nothing was kept for validation."""
    first: bool = True
    """Whether this is the main process of those that trained together."""


ALL_HERE = TrainingResources()


def train(
    training: Training, base: Path, out: Path, resources: TrainingResources = ALL_HERE, say: Say = print
) -> TrainingResult:
    """Train, and write the model into `out/model`; paths in the training are relative to `base`.

    Resumes from the last checkpoint of the same training in `out`.

    Raises:
        RequestError, InputError, OutputError: before the first step, if anything is wrong with the training, its data
            or `out`.

    """
    ready = ready_for(training, base, resources, say)
    learner, normalization = ready.learner, ready.normalization
    loaders = TrainingDataModule(training, ready.statistics, normalization, resources)
    fitted = fit(learner, loaders, out, resources, say)
    if fitted.first:
        card = card_of(training, normalization, fitted.figures, domain_of(training, ready.statistics))
        card = replace(card, training={**card.training, "items": items_of(training, ready.statistics)})
        temperature = _temperature(learner.published.eval(), loaders, choose_device(resources.device))
        save_model(out / MODEL, replace(card, temperature=temperature), learner.published.cpu())
    return TrainingResult(out / MODEL, *fitted)


class Ready(NamedTuple):
    """A training before its first step."""

    learner: Learner
    statistics: tuple[ItemStatistics, ...]
    normalization: Normalization


def ready_for(training: Training, base: Path, resources: TrainingResources, say: Say = print) -> Ready:
    """Look through the items of a training, and make its network and its teachers.

    Raises:
        RequestError, InputError: if anything is wrong with the training or its data.

    """
    spec = spec_of(training)
    if choose_device(resources.device) == "mps":
        raise RequestError("--device mps: models are trained on cpu or cuda; a Metal GPU cannot pool to all bins")
    items = find_items(training.data, base)
    say(f"{len(items)} pairs: looking through them")
    statistics = collect_statistics(training, items)
    normalization = normalization_of(training, statistics)
    teachers = Teachers(training, normalization, base) if training.teacher.models else None
    return Ready(Learner(training, _initialized(training, base, spec), teachers), statistics, normalization)


class FitResult(NamedTuple):
    """How a learner came by its weights."""

    steps: int
    figures: dict[str, float]
    """Of the best validation; empty if nothing was kept for validation."""
    first: bool
    """Whether this is the main process of those that trained together."""


def fit(
    learner: Learner, loaders: TrainingDataModule, out: Path, resources: TrainingResources = ALL_HERE, say: Say = print
) -> FitResult:
    """Train `learner`, from the last checkpoint in `out` on; it ends with the weights that did best in validation."""
    training = learner.training_config
    _claim(out, training)
    remove_stale_temporaries(out)
    with _quiet():
        validated = loaders.checks is not None
        if training.schedule.patience and not validated:
            say("schedule.patience: no item is kept for validation, so all steps are taken")
        trainer = _trainer(training, out, resources, say, validated=validated)
        last = out / f"{LAST}.ckpt"
        try:
            trainer.fit(learner, loaders, ckpt_path=str(last) if last.exists() else None, weights_only=True)
        finally:
            close_all()
    best = out / f"{BEST}.ckpt"
    kept = torch.load(best if best.exists() else last, weights_only=True, map_location="cpu")
    learner.load_state_dict(kept["state_dict"])
    return FitResult(trainer.global_step, _figures(kept), trainer.is_global_zero)


class TrainingDataModule(lightning.LightningDataModule):
    """Samples in epochs of as many steps as lie between two checkpoints, so that a restart begins with a sample."""

    def __init__(
        self,
        training: Training,
        statistics: Sequence[ItemStatistics],
        normalization: Normalization,
        resources: TrainingResources,
    ) -> None:
        super().__init__()
        self._training, self._statistics, self._normalization = training, statistics, normalization
        self._workers = resources.workers
        checks = ValidationPatches(training, statistics, normalization)
        self.checks = checks if len(checks) else None

    def train_dataloader(self) -> DataLoader[Sample]:
        """The samples of the epoch that begins."""
        how, batch = self._training.schedule, self._training.samples.batch
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        together = batch * (self.trainer.world_size if self.trainer is not None else 1)
        numbers = range(epoch * how.every * together, min((epoch + 1) * how.every, how.steps) * together)
        samples = TrainingPatches(self._training, self._statistics, self._normalization, numbers)
        return DataLoader(samples, batch_size=batch, num_workers=self._workers)

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """The validation's patches; nothing where no item was kept for it."""
        if self.checks is None:
            return []
        return DataLoader(self.checks, batch_size=self._training.samples.batch, num_workers=self._workers)


class ProgressLines(Callback):
    """Print a line of figures at each checkpoint, and an early one with the time left."""

    def __init__(self, say: Say, training: Training) -> None:
        self._say, self._steps, self._batch = say, training.schedule.steps, training.samples.batch
        self._soon = training.schedule.every > _FIRST_LINE_AFTER
        self._began, self._first = 0.0, 0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The clock starts."""
        self._began, self._first = time.monotonic(), trainer.global_step

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Step, loss and figures, samples a second, and minutes left."""
        self._tell(trainer)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: Sample,
        batch_idx: int,
    ) -> None:
        """The first line, after a few steps."""
        if self._soon and trainer.global_step - self._first >= _FIRST_LINE_AFTER:
            self._soon = False
            self._tell(trainer)

    def _tell(self, trainer: lightning.Trainer) -> None:
        if not self._began or not trainer.is_global_zero:
            return  # a resumed training ends its last epoch once more
        step = trainer.global_step
        rate = (step - self._first) / (time.monotonic() - self._began)
        figures = "  ".join(f"{name} {float(trainer.callback_metrics[name]):.4f}" for name in _shown(trainer))
        left = (self._steps - step) / rate / 60
        samples = rate * self._batch * trainer.world_size
        self._say(f"step {step}/{self._steps}  {figures}  {samples:.1f} samples/s  {left:.0f} min left")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear under their name when they are whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        """Write a temporary file, then rename it."""
        with atomic_write(Path(path)) as draft:
            super().save_checkpoint(checkpoint, draft, storage_options)


def _temperature(network: PSPNet, loaders: TrainingDataModule, device: str) -> float | None:
    if loaders.checks is None:
        return None
    cells = len(loaders.checks) * prod(loaders.checks[0].labels.shape)
    try:
        return temperature_of(network, loaders.val_dataloader(), cells, device)
    finally:
        close_all()


def spec_of(training: Training) -> PSPNetSpec:
    """Return the architecture of a training."""
    network = asdict(training.network)
    auxiliary = network.pop("auxiliary") > 0
    for name in ("pretrained", "frozen_stages", "frozen_norms"):
        network.pop(name)
    slices = 2 * training.samples.margin + 1
    try:
        spec = PSPNetSpec(
            in_channels=len(training.channels) * slices,
            classes=len(training.classes),
            auxiliary=auxiliary,
            **network,
        )
        if training.schedule.coarse:
            coarser(spec)
    except ValueError as error:
        raise RequestError(f"network: {error}") from error
    return spec


def _shown(trainer: lightning.Trainer) -> list[str]:
    return [name for name in ("loss", "mean_iou", "mean_dice") if name in trainer.callback_metrics]


def _plain(value: Any) -> Any:  # noqa: ANN401
    """As JSON has it."""
    return json.loads(json.dumps(value))


def _words(training: Training) -> dict[str, Any]:
    """A training as its file in the folder has it."""
    words: dict[str, Any] = _plain({**asdict(training), "classes": [encode(entry) for entry in training.classes]})
    return words


def _claim(out: Path, training: Training) -> None:
    """Note in `out` which training this is; refuse if another was begun there."""
    state, path = _words(training), out / STATE
    if path.exists():
        begun = decode(Training, json.loads(path.read_text(encoding="utf-8")), may_miss=True)
        told = {name: getattr(training, name) for name in _DESCRIPTIVE}
        if differing := differences(_words(replace(begun, **told)), state):
            raise OutputError(f"{out}: another training was started here ({differing}); give another --out")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: cannot write here ({error.strerror}); give another --out") from error


def _initialized(training: Training, base: Path, spec: PSPNetSpec) -> PSPNet:
    """The network before the first step: random, or with what a model or a backbone brings."""
    torch.manual_seed(training.seed)
    network = PSPNet(spec)
    if training.network.pretrained is not None:
        initialize_from(network, training.network.pretrained, base)
    return network


def _trainer(
    training: Training, out: Path, resources: TrainingResources, say: Say, *, validated: bool
) -> lightning.Trainer:
    how = training.schedule
    figure = "mean_dice" if training.kind == "volume" else "mean_iou"
    saving = ModelCheckpoint(
        out,
        filename=BEST,
        monitor=figure if validated else None,
        mode="max",
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [saving, ProgressLines(say, training)]
    if resources.bar:
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    if how.patience and validated:
        callbacks.append(EarlyStopping(figure, patience=how.patience, mode="max"))
    device = choose_device(resources.device)
    kind, _, index = device.partition(":")
    return lightning.Trainer(
        accelerator="gpu" if kind == "cuda" else "cpu",
        devices=[int(index)] if index else resources.devices or ("auto" if kind == "cuda" else 1),
        sync_batchnorm=kind == "cuda",
        precision="bf16-mixed" if fast_in_bf16(device) else "32-true",
        max_steps=how.steps,
        gradient_clip_val=how.clip or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=[CSVLogger(out, name="logs"), TensorBoardLogger(out, name="tensorboard")],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=out,
        enable_progress_bar=resources.bar,
        enable_model_summary=False,
        log_every_n_steps=min(50, how.every),
    )


def _figures(kept: dict[str, Any]) -> dict[str, float]:
    callbacks = [state for name, state in kept["callbacks"].items() if name.startswith("ModelCheckpoint")]
    return {state["monitor"]: round(float(state["current_score"]), 4) for state in callbacks if state.get("monitor")}


def card_of(
    training: Training, normalization: Normalization, figures: dict[str, float], domain: Domain | None = None
) -> Card:
    """Return the card of a trained model; `figures` are those of its validation, `domain` that of its items."""
    samples = training.samples
    volume = training.kind == "volume"
    return Card(
        format=FORMAT,
        name=training.name,
        kind=training.kind,
        classes=training.classes,
        network=spec_of(training),
        patch=samples.patch,
        overlap=(samples.patch[0] // 4, samples.patch[1] // 4),
        channels=training.channels,
        margin=samples.margin,
        normalization=normalization,
        values=samples.values,
        spacing=samples.spacing,
        zoom=samples.zoom,
        orientation=samples.orientation if volume else None,
        views=samples.views if volume else (),
        averaging=training.averaging,
        window=training.window,
        weights_sha256="",
        license=training.license,
        credits=training.credits,
        evaluation={"validation": figures} if figures else {},
        training=_plain({name: value for name, value in asdict(training).items() if name in _RECIPE}),
        limits=training.limits,
        domain=domain,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice is for those who write loops; errors still come through."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            logger.setLevel(level)
