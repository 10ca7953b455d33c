"""Two image files registered: transform, warped image and labels, numbers, picture and page in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg import provenance
from autoseg.errors import ConfigurationError
from autoseg.log import duration, logger
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, register
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.pipeline.inputs import PairFiles, PairInputs, read_pair
from autoseg.tasks.registration.pipeline.learned import LearnedRegistration
from autoseg.tasks.registration.pipeline.outputs import check_folder, registration_outputs, write_outputs
from autoseg.tasks.registration.pipeline.request import RegistrationRequest
from autoseg.tasks.registration.record import RegistrationRecord, cautions, stage_records
from autoseg.tasks.registration.transforms import Affine
from autoseg.tasks.registration.warp import LabelInterpolation
from autoseg.training.runtime import find_device


@dataclass(frozen=True)
class LearnedModel:
    """A trained network, and how to use it.

    Attributes:
        run: folder of the training.
        fold: whose network to take; None as `LearnedRegistration.load` chooses.
        regularization: weight of the regulariser, for a network that takes one.
        instance_iterations: updates of this very pair after the network; None as `RegistrationModel.register` has it.
    """

    run: Path
    fold: str | None = None
    regularization: float | None = None
    instance_iterations: int | None = None


def register_files(
    files: PairFiles,
    out: Path,
    request: RegistrationRequest | None = None,
    *,
    model: LearnedModel | None = None,
    label_interpolation: LabelInterpolation = "nearest",
    command: Sequence[str] = (),
) -> RegistrationRecord:
    """Registers two image files and writes what `outputs.FILES` names into `out`.

    Files of an earlier registration in the folder are replaced, all at once at the end; other files stay.

    Args:
        files: images, and what tells how good the result is.
        out: folder to write to.
        request: how they are registered; defaults if None.
        model: a trained network to register by instead of the request's method; of its options it takes linear stages,
            which then run first, and their similarity.
        label_interpolation: see `registration.warp.warp_labels`.
        command: the command line, for the record.

    Raises:
        RegistrationError: images that cannot be registered.
        ImageError, ConfigurationError: files or options that are wrong (`read_pair`).
        WorkspaceError: `out` is a file, or a folder with a report of something else.
    """
    check_folder(out)
    request = request or RegistrationRequest()
    request = replace(request, device=find_device(request.device))
    inputs = read_pair(files)
    pair = prepare(inputs.fixed, inputs.moving, fixed_mask=inputs.masks[0], moving_mask=inputs.masks[1])
    fitted = _fitted(pair, request) if model is None else _predicted(inputs, pair, request, model)
    result = fitted.result
    _log(result)
    outputs = registration_outputs(inputs, pair, result, label_interpolation)
    warnings = (
        *cautions(outputs.quality, fitted.similarity, min(pair.fixed_grid.spacing)),
        *result.warnings,
        *inputs.warnings,
        *outputs.warnings,
    )
    record = RegistrationRecord(
        fixed=str(files.fixed),
        moving=str(files.moving),
        given=files.given,
        dimension=pair.dimension,
        method=result.method,
        options=fitted.options,
        seed=request.seed,
        device=request.device,
        stages=stage_records(result.stages),
        quality=outputs.quality,
        outside=outputs.outside,
        warnings=tuple(dict.fromkeys(warnings)),
        command=tuple(command),
        versions=provenance.versions(),
        machine=provenance.machine(),
    )
    return write_outputs(out, record, outputs, inputs, pair)


@dataclass(frozen=True)
class _Fitted:
    """A registration, the similarity that it was made by, and what was asked, for the record."""

    result: RegistrationResult
    similarity: str
    options: dict[str, Any]


def _fitted(pair: ImagePair, request: RegistrationRequest) -> _Fitted:
    options = request.options or RegistrationOptions()
    result = register(pair, options, method=request.method, seed=request.seed, device=request.device)
    similarity = result.stages[-1].similarity if result.stages else request.method
    return _Fitted(result, similarity, options.model_dump(mode="json"))


def _predicted(inputs: PairInputs, pair: ImagePair, request: RegistrationRequest, model: LearnedModel) -> _Fitted:
    """By a network, from where linear stages end if any are asked for.

    Args:
        inputs: the images as they were read, on which the network works.
        pair: the images as linear stages take them.
        request: its options are None or have linear stages alone.
        model: the network.

    Raises:
        ConfigurationError: a deformable stage is asked for.
    """
    device, options = request.device, request.options
    network = LearnedRegistration.load(model.run, fold=model.fold, device=device, regularization=model.regularization)
    asked: dict[str, Any] = {
        "model": str(model.run),
        "fold": network.fold,
        "regularization": network.model.regularization,
        "instance_iterations": model.instance_iterations,
    }
    before: RegistrationResult | None = None
    if options is not None:
        if "deformable" in options.stages:
            raise ConfigurationError(
                "the network is the deformable stage",
                where="stages",
                got=", ".join(options.stages),
                expected="linear stages, which run before the network",
                remedy="leave deformable out, or use --instance-optimisation",
            )
        before = register(pair, options, seed=request.seed, device=device)
        asked |= options.model_dump(mode="json", include={"stages", "similarity"})
    linear = None if before is None else before.transform
    result = network.register(
        inputs.fixed,
        inputs.moving,
        linear=linear if isinstance(linear, Affine) else None,
        instance_iterations=model.instance_iterations,
    )
    if before is not None:
        stages, warnings = (*before.stages, *result.stages), (*before.warnings, *result.warnings)
        result = replace(result, stages=stages, warnings=warnings)
    return _Fitted(result, network.similarity, asked)


def _log(result: RegistrationResult) -> None:
    seconds = sum(stage.seconds for stage in result.stages)
    logger.info("registered in %s: %s", duration(seconds), ", ".join(stage.name for stage in result.stages))
