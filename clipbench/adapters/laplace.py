"""Laplace-LoRA: a Gaussian around trained LoRA factors, after training, and what it predicts (Yang et al., ICLR 2024).

For every factor, A and B apart, the precision is ``G x H + delta I``: H the sum of outer products of its inputs over
images, divided by their number; G that of the gradients of ``-log p_c`` at its outputs, over images and classes, each
weighted with p_c (the exact Fisher). The logits are Gaussian around those of the trained model, with covariance
``J P^-1 J^T``. The prior's precision delta is one number, where the log evidence is largest.

Source: adamxyang/laplace-lora ``laplace/curvature/asdl.py`` 145-255, ``laplace/baselaplace.py`` 250-265, 456-568,
632-714, ``run_gpt_laplace.py`` 616-650. Tokens count as there: each adds to G and to H.

Only what depends on an image has factors for each image: the text tower, whose inputs are prompts, is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.hosts import Blocks, Host
from clipbench.adapters.kinds import LoRA
from clipbench.adapters.state import get_state

Forward = Callable[[Tensor], Tensor]
"""Logits `[R, B, C]` of inputs `[R*B, ...]`, rows grouped by replica."""

_FACTORS = ("A", "B")
_SAMPLES = 1000
"""Draws of the logits that are held at once."""


class _Seen(NamedTuple):
    """One adapted product of a forward pass."""

    host: Host
    blocks: Blocks
    x: Tensor
    y: Tensor


class _Spectrum(NamedTuple):
    """Eigenvalues and vectors of G and H of one factor, `[R, n]` and `[R, n, n]`."""

    outer: Tensor
    outer_vectors: Tensor
    inner: Tensor
    inner_vectors: Tensor

    def products(self) -> Tensor:
        """Eigenvalues of ``G x H``, `[R, out, in]`."""
        return self.outer[:, :, None] * self.inner[:, None]


class Laplace:
    """A Gaussian over the LoRA factors of a trained model, for each replica.

    Attributes:
        precision: Prior precision delta `[R]`; one until `fit_precision`.
        log_likelihood: Of the training set, `[R]`.
    """

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        """Take the model as it is trained; `fit` looks at the data.

        Args:
            model: A model with adapters of kind ``lora``, ``lora+`` or ``qlora``, in evaluation mode.
            forward: Its logits.

        Raises:
            AdapterError: The adapters are of another kind, or none depends on images.
        """
        state = get_state(model)
        kind = next(iter(state.branches().values()))
        if not isinstance(kind, LoRA) or not kind.additive or set(dict(kind.named_parameters())) != set(_FACTORS):
            raise AdapterError(f"Laplace: the posterior is that of LoRA's A and B; this is kind {state.config.kind!r}.")
        self._hosts = [h for site in state.sites if site.place.tower != "text" for h in site.hosts().values()]
        if not self._hosts:
            raise AdapterError("Laplace: all adapters are in the text tower, whose inputs are prompts and not images.")
        self._forward, self._replicas = forward, state.config.replicas
        device = next(kind.parameters()).device
        self.precision = torch.ones(self._replicas, dtype=torch.float64, device=device)
        self.log_likelihood = torch.zeros(self._replicas, dtype=torch.float64, device=device)
        self._squares = sum(
            (p.detach().double().square().flatten(1).sum(1) for _, _, p in self._parameters()),
            start=torch.zeros_like(self.precision),
        )
        self._spectra: dict[tuple[str, str], _Spectrum] = {}

    @torch.enable_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Laplace:
        """Collect G, H and the log likelihood.

        Args:
            batches: Inputs `[R*B, ...]` and labels `[R, B]`, each image of the training set once.

        Returns:
            The same object.
        """
        inner: dict[tuple[str, str], Tensor] = {}
        outer: dict[tuple[str, str], Tensor] = {}
        images = 0
        for inputs, labels in batches:
            images += labels.shape[1]
            logits, seen = self._run(inputs)
            log_p = logits.double().log_softmax(-1)
            self.log_likelihood += log_p.detach().gather(-1, labels[..., None]).sum((1, 2))
            for key, x in _inputs(seen):
                _add(inner, key, x.mT @ x)
            for c in range(logits.shape[-1]):
                weight = log_p.detach()[..., c].exp()
                for key, g in _outputs(seen, _gradients(-log_p[..., c].sum(), seen)):
                    rows = weight[:, :, None].expand(-1, -1, g.shape[1] // weight.shape[1]).flatten(1)[..., None]
                    _add(outer, key, (g * rows).mT @ g)
        for key, total in inner.items():
            self._spectra[key] = _Spectrum(*_eigen(outer[key]), *_eigen(total / images))
        return self

    def log_det_ratio(self, precision: Tensor) -> Tensor:
        """``log det P - log det P0`` at the prior precision `[R]`, `[R]`."""
        total = torch.zeros_like(precision)
        for spectrum in self._spectra.values():
            total = total + torch.log1p(spectrum.products() / precision[:, None, None]).sum((1, 2))
        return total

    def log_evidence(self, precision: Tensor) -> Tensor:
        """Log marginal likelihood at the prior precision `[R]`, `[R]`."""
        return self.log_likelihood - (self.log_det_ratio(precision) + precision * self._squares) / 2

    def fit_precision(self, steps: int = 100, lr: float = 0.1) -> Tensor:
        """Take the prior precision that makes the evidence largest, by Adam on its logarithm; returns it `[R]`."""
        log_precision = self.precision.log().requires_grad_(True)
        optimiser = torch.optim.Adam([log_precision], lr)
        for _ in range(steps):
            optimiser.zero_grad()
            torch.autograd.backward(-self.log_evidence(log_precision.exp()).sum())
            optimiser.step()
        self.precision = log_precision.detach().exp()
        return self.precision

    @torch.enable_grad()
    def predict(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean `[R, B, C]` and covariance `[R, B, C, C]` of the logits of `inputs [R*B, ...]`; C backward passes."""
        logits, seen = self._run(inputs)
        replicas, rows, classes = logits.shape
        jacobians: dict[tuple[str, str], list[Tensor]] = {}
        for c in range(classes):
            gradients = dict(_outputs(seen, _gradients(logits[..., c].sum(), seen)))
            for key, x in _inputs(seen):
                g = gradients[key].view(replicas, rows, -1, gradients[key].shape[-1])
                each = g.mT @ x.view(replicas, rows, -1, x.shape[-1])
                jacobians.setdefault(key, []).append(each)
        covariance = logits.new_zeros(replicas, rows, classes, classes, dtype=torch.float64)
        for key, per_class in jacobians.items():
            spectrum = self._spectra[key]
            jacobian = torch.stack(per_class, 2)
            turned = spectrum.outer_vectors.mT[:, None, None] @ jacobian @ spectrum.inner_vectors[:, None, None]
            share = 1.0 / (spectrum.products() + self.precision[:, None, None])
            covariance += (turned * share[:, None, None]).flatten(3) @ turned.flatten(3).mT
        return logits.detach(), covariance.to(logits.dtype)

    def _run(self, inputs: Tensor) -> tuple[Tensor, list[_Seen]]:
        with _observed(self._hosts) as seen:
            logits = self._forward(inputs)
        if not seen:
            raise AdapterError("Laplace: the forward pass went through none of the adapters.")
        return logits, seen

    def _parameters(self) -> Iterator[tuple[str, str, nn.Parameter]]:
        for host in self._hosts:
            for name in host.blocks:
                for key in _FACTORS:
                    yield f"{host.path}.{name}", key, host.branch(name).get_parameter(key)


def probabilities(
    mean: Tensor, covariance: Tensor, *, samples: int = 10_000, generator: torch.Generator | None = None,
    noise: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Mean of the softmax over Gaussian logits, `[..., C]`.

    Args:
        mean: `[..., C]`.
        covariance: `[..., C, C]`; 1e-6 is added to its diagonal.
        samples: How many are drawn.
        generator: What draws them.
        noise: Standard normal numbers `[samples, ..., C]` in the place of a draw.
    """
    root = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(mean.shape[-1]).to(covariance))
    total, count = torch.zeros_like(mean), samples if noise is None else len(noise)
    for start in range(0, count, _SAMPLES):
        size = min(_SAMPLES, count - start)
        drawn = noise[start : start + size] if noise is not None else None
        drawn = torch.randn(size, *mean.shape, generator=generator).to(mean) if drawn is None else drawn
        total += (mean + (root @ drawn[..., None])[..., 0]).softmax(-1).sum(0)
    return total / count


def probit_probabilities(mean: Tensor, covariance: Tensor) -> Tensor:
    """The closed form that is near to it, ``softmax(mean / sqrt(1 + pi / 8 diag covariance))`` (MacKay, 1992)."""
    return (mean / (1 + torch.pi / 8 * covariance.diagonal(dim1=-2, dim2=-1)).sqrt()).softmax(-1)


@contextmanager
def _observed(hosts: Sequence[Host]) -> Iterator[list[_Seen]]:
    seen: list[_Seen] = []
    for host in hosts:
        host.observer = lambda *found: seen.append(_Seen(*found))
    try:
        yield seen
    finally:
        for host in hosts:
            host.observer = None


def _gradients(value: Tensor, seen: Sequence[_Seen]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, [each.y for each in seen], retain_graph=True)


def _inputs(seen: Sequence[_Seen]) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """Input `[R, M, n]` of each factor, in fp64."""
    for host, blocks, x, _ in seen:
        wide = x.detach().double()
        for name in blocks:
            down = host.branch(name).factors().down.detach().double()
            yield (f"{host.path}.{name}", "A"), wide
            yield (f"{host.path}.{name}", "B"), wide @ down.mT


def _outputs(seen: Sequence[_Seen], gradients: Sequence[Tensor]) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """Gradient `[R, M, n]` at the output of each factor, in fp64; the scale stands behind B."""
    for (host, blocks, _, _), gradient in zip(seen, gradients, strict=True):
        for name, (start, stop) in blocks.items():
            _, up, scale = host.branch(name).factors()
            at_b = scale * gradient[..., start:stop].double()
            yield (f"{host.path}.{name}", "A"), at_b @ up.detach().double()
            yield (f"{host.path}.{name}", "B"), at_b


def _add(totals: dict[tuple[str, str], Tensor], key: tuple[str, str], value: Tensor) -> None:
    totals[key] = totals[key] + value if key in totals else value


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp_min(0.0), vectors
