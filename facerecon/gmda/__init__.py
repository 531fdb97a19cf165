"""The adaptation core: a face autoencoder, and its decoder turned to maps of another kind (GMDA); knows tensors, not faces."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "IMAGE_MEAN": "autoencoder",
    "IMAGE_SIZES": "autoencoder",
    "normalise": "autoencoder",
    "denormalise": "autoencoder",
    "Encoder": "autoencoder",
    "Encoding": "autoencoder",
    "Decoder": "autoencoder",
    "Decoding": "autoencoder",
    "Autoencoder": "autoencoder",
    "LatentDiscriminator": "discriminators",
    "ImageDiscriminator": "discriminators",
    "losses": "losses",
    "HierarchicalBlock": "skip",
    "ITL_KINDS": "transfer",
    "TransferLayer": "transfer",
    "MAP_SIZE": "network",
    "AdaptedNetwork": "network",
    "initialise_identity": "network",
    "PlainNetwork": "baselines",
    "build_autoencoder": "builder",
    "grow_autoencoder": "builder",
    "build_adapted": "builder",
    "build_plain": "builder",
    "build_from_config": "builder",
    "save_network": "weights",
    "save_halves": "weights",
    "load_network": "weights",
    "LoadedNetwork": "weights",
    "network_from_snapshot": "fabrec",
    "read_snapshot": "fabrec",
})
