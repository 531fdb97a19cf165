"""Which encoder a reconstructor uses: the one that the caller names, or the one that ships."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from facerecon.assets import locate, manifest
from facerecon.errors import ArgumentError, BackendError, ModelError

if TYPE_CHECKING:
    from facerecon.mofa import EncoderFile, EncoderPredictor
    from facerecon.morphable import MorphableModel

    Weights = str | os.PathLike[str] | EncoderFile

# Three channels, for the open model. A copy of the package without it does with fits alone.
ENCODER_ASSET = "weights/encoder-128.safetensors"
MEND = ("train one with `facerecon train mofa-cpu-128 --data DIR -o RUN` and give it as weights='RUN/weights.safetensors' "
        "(--weights on the command line), or use method='fit'")


def encoder_ships() -> bool:
    """Whether encoder weights are among the shipped assets."""
    return ENCODER_ASSET in manifest()


def check_encoder_options(method: str, weights: Weights | None, pncc_weights: str | os.PathLike[str] | None) -> None:
    """Refuse what cannot work, before anything is loaded.

    Raises:
        ArgumentError: weights that the method would not use, or a PNCC network without an encoder to read its codes.
        BackendError: `backend_missing` for the encoder alone when there are no weights.
    """
    if method == "fit" and weights is not None:
        raise ArgumentError("weights: method 'fit' uses no encoder; wanted method='auto' or 'encoder' with them")
    if pncc_weights is not None and weights is None:
        raise ArgumentError("pncc_weights: wanted weights of an encoder with PNCC input besides them")
    if method == "encoder" and weights is None and not encoder_ships():
        raise BackendError(f"method 'encoder': no encoder weights are installed; {MEND}", code="backend_missing")


def find_encoder(model: MorphableModel, *, method: str, weights: Weights | None = None,
                 pncc_weights: str | os.PathLike[str] | None = None, device: str = "cpu") -> EncoderPredictor | None:
    """The encoder of a method, or None for a fit alone.

    Weights that ship are for the open model; with another model, "auto" goes without them.

    Args:
        model: the face model whose coefficients are wanted.
        method: "auto", "fit" or "encoder".
        weights: a file that `facerecon train` wrote, or what `load_encoder` gave; None for the shipped ones.
        pncc_weights: the PNCC network whose maps an encoder of six channels is given.
        device: of the networks, "auto", "cpu" or "cuda".

    Raises:
        ModelError: for files that cannot be used, and `model_invalid` for weights of another face model, with both hashes.
        ArgumentError: an encoder with PNCC input without a PNCC network, or the other way round.
        BackendError: `backend_missing` when the method needs an encoder and there is none for this model.
    """
    check_encoder_options(method, weights, pncc_weights)
    if method == "fit" or weights is None and not encoder_ships():
        return None
    from facerecon.mofa import EncoderFile, EncoderPredictor, load_encoder

    given = locate(ENCODER_ASSET) if weights is None else weights
    file = given if isinstance(given, EncoderFile) else load_encoder(given)
    if weights is None:
        try:
            file.facts.check(model)
        except ModelError as error:
            if method == "auto":
                return None
            raise BackendError(f"method 'encoder': the weights that ship are not for this face model ({error.message}); {MEND}",
                               code="backend_missing") from error
    if file.encoder.uses_pncc != (pncc_weights is not None):
        has = "RGB and PNCC" if file.encoder.uses_pncc else "RGB alone"
        raise ArgumentError(f"pncc_weights: the encoder reads {has}; wanted {'the' if file.encoder.uses_pncc else 'no'} "
                            "weights of a PNCC network (--pncc-weights)")
    maps = None
    if pncc_weights is not None:
        from facerecon.pncc import PnccPredictor

        maps = PnccPredictor.load(pncc_weights, device=device)
    return EncoderPredictor(model, file, pncc=maps, device=device)
