"""A small run of training: a model of bytes that reads English and, from step 240 on, French too; W at every 20th.

`python -m tests.support.training_run runs` writes it: `weights/step_N.safetensors`, the optimizer's second moments
`v.safetensors` (steps, n_tokens, n_dims), and `tokenizer/`. It computes in fp64 on one thread, from whole random
numbers, and rounds what it saves to bf16 (v: to fp32): the last bits of another machine's sums are lost in that. Where
each tanh was off by up to 5·10⁻¹⁰ of itself, no value of any W saved was another.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers

from tests.support.tokenizers_made import bpe, save

ENGLISH = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in "
    "Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in a great "
    "civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure. We "
    "are met on a great battle-field of that war. We have come to dedicate a portion of that field, as a final "
    "resting place for those who here gave their lives that that nation might live. It is altogether fitting and "
    "proper that we should do this. "
)
FRENCH = (
    "Demain, dès l'aube, à l'heure où blanchit la campagne, je partirai. Vois-tu, je sais que tu m'attends. "
    "J'irai par la forêt, j'irai par la montagne. Je ne puis demeurer loin de toi plus longtemps. Je marcherai "
    "les yeux fixés sur mes pensées, sans rien voir au dehors, sans entendre aucun bruit, seul, inconnu, le dos "
    "courbé, les mains croisées, triste, et le jour pour moi sera comme la nuit. "
)
N_BYTES, N_TOKENS, N_DIMS = 256, 264, 16  # the last rows only fill W up: the model never sees them
N_STEPS, SAVED_EVERY, FRENCH_FROM, HALVED_FROM = 600, 20, 240, 300
BATCH = 192
LEARNING_RATE, DECAY, BETAS, EPSILON = 0.02, 0.7, (0.9, 0.99), 1e-12


class Adam:
    """AdamW: a parameter's two moments, and its decay."""

    def __init__(self, parameter: torch.Tensor, decay: float = 0.0) -> None:
        """Begin with moments of zero."""
        self._parameter, self._decay, self._n_steps = parameter, decay, 0
        self._m, self.v = torch.zeros_like(parameter), torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the parameter by its gradient."""
        gradient = self._parameter.grad
        assert gradient is not None
        self._n_steps += 1
        self._m.mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
        self.v.mul_(BETAS[1]).add_(gradient**2, alpha=1 - BETAS[1])
        m, v = (x / (1 - beta**self._n_steps) for x, beta in zip((self._m, self.v), BETAS, strict=True))
        self._parameter.mul_(1 - rate * self._decay).sub_(rate * m / (v.sqrt() + EPSILON))
        self._parameter.grad = None


def random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Return random multiples of 2⁻¹⁰ from -1/4 up to 1/4, the same on every machine."""
    return torch.randint(-256, 256, shape, generator=generator).double() / 1024


def training() -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Give each step that is saved, W `(n_tokens, n_dims)` in bf16 and its second moments in fp32.

    The next byte is told from the two before it. W is input and output at once, so bytes that never occur are pushed
    away by every batch, all of them the same way, and decay takes what they began with: they become equal in bf16.
    Late in the run, the rate is halved every 20 steps, and rows stop changing.
    """
    generator = torch.Generator().manual_seed(13)
    W, A, B = (random(generator, *shape) for shape in ((N_TOKENS, N_DIMS), (2 * N_DIMS, 32), (32, N_DIMS)))
    W /= 128
    W[N_BYTES:] = 0
    parameters = [x.requires_grad_() for x in (W, A, B)]
    optimizers = [Adam(W, DECAY), Adam(A), Adam(B)]
    english, both = (torch.tensor(list(text.encode())) for text in (ENGLISH, ENGLISH + FRENCH))
    for step in range(N_STEPS + 1):
        if step % SAVED_EVERY == 0:
            yield step, W.detach().bfloat16(), optimizers[0].v.float()
        text = english if step < FRENCH_FROM else both
        place = torch.randint(2, len(text), (BATCH,), generator=generator)
        before = W[torch.stack([text[place - 2], text[place - 1]], dim=1)].flatten(1)
        scores = torch.tanh(before @ parameters[1]) @ parameters[2] @ W[:N_BYTES].T
        torch.nn.functional.cross_entropy(scores, text[place]).backward()  # type: ignore[no-untyped-call]
        rate = LEARNING_RATE / 2 ** max(0, (step - HALVED_FROM) // SAVED_EVERY)
        for optimizer in optimizers:
            optimizer.step(rate)


def tokenizer_of_bytes() -> Tokenizer:
    """Return a byte-level tokenizer without merges, whose token_ids are the bytes."""
    shown = [byte for byte in range(N_BYTES) if chr(byte).isprintable() and byte != ord(" ")]
    others = iter(range(N_BYTES, 2 * N_BYTES))
    made = bpe([chr(byte if byte in shown else next(others)) for byte in range(N_BYTES)], decoders.ByteLevel())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def write_run(folder: Path) -> Path:
    """Write the run into a folder; return that."""
    (folder / "weights").mkdir(parents=True)
    steps, moments = [], []
    for step, W, v in training():
        save_file({"W": W}, folder / "weights" / f"step_{step}.safetensors")
        steps.append(step)
        moments.append(v)
    save_file({"W": torch.stack(moments), "steps": torch.tensor(steps)}, folder / "v.safetensors")
    save(tokenizer_of_bytes(), folder / "tokenizer")
    return folder


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_run(Path(sys.argv[1]))
