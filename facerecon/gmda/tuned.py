"""What networks on a pretrained encoder share: which parts learn, and at which rate."""

from __future__ import annotations

from typing import Any

from torch import nn

from facerecon.checks import check_choice, check_range

STATISTICS = ("frozen", "batch")


class TunedNetwork(nn.Module):
    """A network with pretrained parts, of which a subclass has an `encoder` and may have a `decoder`.

    Everything else is new and always learns. A frozen part gets no gradient, and keeps its running statistics also under
    `.train()`. Which parts learn is a setting of the object, made once by `set_trainable`; no call of `forward` changes it.
    """

    encoder: nn.Module
    outputs: int

    def __init__(self) -> None:
        super().__init__()
        self.encoder_learns, self.decoder_learns, self.encoder_statistics = True, False, "frozen"

    @property
    def image_size(self) -> int:
        """Side of the images in px."""
        return self.encoder.image_size

    @property
    def config(self) -> dict[str, Any]:
        """What `build_from_config` needs to make this network again, with random weights; subclasses add what they are."""
        return {"image_size": self.image_size, "latent_size": self.encoder.latent_size, "outputs": self.outputs}

    def pretrained_decoder(self) -> list[nn.Module]:
        """The parts of a pretrained decoder that `forward` uses."""
        return []

    def set_trainable(self, encoder: bool = True, decoder: bool = False, *, encoder_statistics: str = "frozen") -> None:
        """Choose the parts that learn.

        Args:
            encoder: whether the encoder's weights learn beside the new layers.
            decoder: the same of the pretrained decoder, statistics included; of no effect where there is none.
            encoder_statistics: "frozen" keeps the encoder's running statistics while its weights learn, and normalises by
                them; "batch" normalises by the batch and lets them move, as in training from random weights.
        """
        check_choice("encoder_statistics", encoder_statistics, STATISTICS)
        self.encoder_learns, self.decoder_learns, self.encoder_statistics = bool(encoder), bool(decoder), encoder_statistics
        self.encoder.requires_grad_(self.encoder_learns)
        if hasattr(self, "decoder"):
            self.decoder.requires_grad_(False)
        for part in self.pretrained_decoder():
            part.requires_grad_(self.decoder_learns)
        self.train(self.training)

    def train(self, mode: bool = True) -> TunedNetwork:
        """Training mode, in which frozen parts stay in evaluation mode."""
        super().train(mode)
        if not self.encoder_learns:
            self.encoder.eval()
        elif self.encoder_statistics == "frozen":
            for part in self.encoder.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
        if hasattr(self, "decoder") and not self.decoder_learns:
            self.decoder.eval()
        return self

    def parameter_groups(self, learning_rate: float = 4e-4, encoder_learning_rate: float = 2e-5,
                         decoder_learning_rate: float | None = None) -> list[dict[str, Any]]:
        """Groups for an optimiser, of what learns now: "transfer" (every new layer), "encoder" and "decoder".

        The defaults are those of Dornier's thesis, section 3.3.2; a decoder that learns takes the encoder's rate when none is
        given.
        """
        decoder_rate = encoder_learning_rate if decoder_learning_rate is None else decoder_learning_rate
        check_range("learning_rate", learning_rate, 0.0)
        check_range("encoder_learning_rate", encoder_learning_rate, 0.0)
        check_range("decoder_learning_rate", decoder_rate, 0.0)
        encoder = list(self.encoder.parameters())
        decoder = list(self.decoder.parameters()) if hasattr(self, "decoder") else []
        known = {id(parameter) for parameter in encoder + decoder}
        new = [parameter for parameter in self.parameters() if id(parameter) not in known]
        groups = [("transfer", new, learning_rate), ("encoder", encoder, encoder_learning_rate),
                  ("decoder", decoder, decoder_rate)]
        chosen = [(name, [one for one in parameters if one.requires_grad], rate) for name, parameters, rate in groups]
        return [{"name": name, "params": parameters, "lr": rate} for name, parameters, rate in chosen if parameters]
