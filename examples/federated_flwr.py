"""LoRA of ten clients under flwr, with clipbench's split and rules of aggregation.

    pip install 'clipbench[federated]'
    python examples/federated_flwr.py --rule product --rounds 3

The images are coloured noise and the model is the tiny embedded CLIP, so that it ends in a minute on a CPU.
``client_app`` and ``Rule`` are what a flwr app needs (``flwr run``, flwr's own grid); here a grid in this process hands
the messages over.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from torch import Tensor, nn
from torch.nn import functional

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from clipbench.adapters.federated import average, product_average
from clipbench.data.splits.clients import dirichlet_clients
from clipbench.models.load import load_image_tower

CLIENTS, CLASSES, PER_CLASS = 10, 4, 15
RULES = ("fedavg", "ffa", "product")


class Network(nn.Module):
    """The tiny CLIP's image tower with LoRA, under a linear head; every client starts from the same draw."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.tower = load_image_tower("clipbench-tiny", "embedded", "patch-mean")
        self.module = adapt(
            self.tower.module, AdapterConfig("lora", 4, 8.0, "alpha/r", targets="qkvo", init_seeds=(1,))
        )
        self.head = nn.Linear(self.tower.width, CLASSES)
        nn.init.normal_(self.head.weight, std=0.01, generator=torch.Generator().manual_seed(1))
        nn.init.zeros_(self.head.bias)
        for branch in adapted_modules(self.module).values():
            branch.get_parameter("A").requires_grad_(rule != "ffa")

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, C]``."""
        logits: Tensor = self.head(self.tower.encode_image(images))
        return logits

    def state(self) -> dict[str, Tensor]:
        """What is sent: the trained parameters."""
        return {name: p.detach().clone() for name, p in self.named_parameters() if p.requires_grad}

    def factors(self) -> list[tuple[str, str]]:
        """The names of A and B of every adapter."""
        names = {id(p): name for name, p in self.named_parameters()}
        branches = adapted_modules(self.module).values()
        return [(names[id(b.get_parameter("A"))], names[id(b.get_parameter("B"))]) for b in branches]


def images(seed: int) -> tuple[Tensor, Tensor]:
    """Noise ``[n, 3, 64, 64]`` whose mean colour is that of its class, and the classes ``[n]``."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    colours = torch.randn(CLASSES, 3, 1, 1, generator=torch.Generator().manual_seed(7))
    return colours[labels] + torch.randn(len(labels), 3, 64, 64, generator=generator), labels


def train(network: Network, state: Mapping[str, Tensor], client: int, epoch: int) -> int:
    """One local epoch from the server's state; the number of images."""
    network.load_state_dict(dict(state), strict=False)
    data, labels = images(0)
    members = dirichlet_clients(labels.numpy(), CLIENTS, 0.5, np.random.default_rng(1))[client]
    order = torch.from_numpy(np.random.default_rng([client, epoch]).permutation(members))
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=5e-3)
    for batch in order.split(16):
        optimiser.zero_grad()
        functional.cross_entropy(network(data[batch]), labels[batch]).backward()
        optimiser.step()
    return len(members)


client_app = ClientApp()


@client_app.train()
def train_message(message: Message, context: Context) -> Message:
    """What a client answers to the server's state: its own, and how many images it is of."""
    config: Any = message.content["config"]
    arrays: Any = message.content["arrays"]
    network = Network(str(config["rule"]))
    count = train(
        network, arrays.to_torch_state_dict(), int(context.node_config["partition-id"]), config["server-round"]
    )
    content = {"arrays": ArrayRecord(network.state()), "metrics": MetricRecord({"num-examples": count})}
    return Message(RecordDict(content), reply_to=message)  # type: ignore[arg-type]


class Rule(FedAvg):
    """flwr's strategy with clipbench's aggregation."""

    def __init__(self, rule: str) -> None:
        super().__init__(fraction_evaluate=0.0)
        self.rule, self.factors = rule, Network(rule).factors()

    def aggregate_train(
        self,
        server_round: int,  # noqa: ARG002
        replies: Iterable[Message],
    ) -> tuple[ArrayRecord, MetricRecord]:
        """One state of all that came back."""
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        contents: list[Any] = [message.content for message in valid]
        states = [content["arrays"].to_torch_state_dict() for content in contents]
        weights = torch.tensor([float(content["metrics"]["num-examples"]) for content in contents])
        return ArrayRecord(aggregate(self.rule, states, weights, self.factors)), MetricRecord({"clients": len(valid)})


def aggregate(
    rule: str, states: list[dict[str, Tensor]], weights: Tensor, factors: list[tuple[str, str]]
) -> dict[str, Tensor]:
    """One state of many by a rule."""
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    found = {name: average(values, weights) for name, values in stacked.items()}
    for a, b in factors if rule == "product" else []:
        down, up = product_average(stacked[a][:, 0], stacked[b][:, 0], weights)
        found[a], found[b] = down[None], up[None]
    return found


class InProcess(Grid):
    """Hands each message to the client app, one client after the other, in place of flwr's network."""

    def __init__(self, app: ClientApp) -> None:
        self._app = app
        # What flwr sets in the processes that it starts itself.
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1

    def get_node_ids(self) -> list[int]:
        """The clients, counted from 1."""
        return list(range(1, CLIENTS + 1))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002
        """Their answers."""
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            context = Context(1, node, {"partition-id": node - 1}, RecordDict(), {})
            replies.append(self._app(message, context))
        return replies

    @property
    def run(self) -> Any:
        """There is no run of flwr's."""
        raise NotImplementedError

    def set_run(self, run: Any) -> None:
        """Likewise."""

    def create_message(self, *_: Any, **__: Any) -> Message:
        """The strategy makes its own."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """They are answered at once."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Likewise."""
        raise NotImplementedError


@torch.no_grad()
def accuracy(rule: str, state: Mapping[str, Tensor]) -> float:
    """Percent of other images that the server's state gets right."""
    network = Network(rule)
    network.load_state_dict(dict(state), strict=False)
    data, labels = images(1)
    return 100.0 * float((network(data).argmax(dim=1) == labels).float().mean())


def federate(rule: str, rounds: int) -> list[float]:
    """The accuracy before training and after each round."""
    start, found = Network(rule), list[float]()

    def evaluate(_: int, arrays: ArrayRecord) -> MetricRecord:
        found.append(accuracy(rule, arrays.to_torch_state_dict()))
        return MetricRecord({"accuracy": found[-1]})

    Rule(rule).start(
        InProcess(client_app),
        ArrayRecord(start.state()),
        num_rounds=rounds,
        train_config=ConfigRecord({"rule": rule}),
        evaluate_fn=evaluate,
    )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rule", choices=RULES, default="fedavg")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sent = sum(value.numel() for value in Network(arguments.rule).state().values()) * 4 * 2 * CLIENTS / 1e6
    for number, percent in enumerate(federate(arguments.rule, arguments.rounds)):
        print(f"round {number}: {percent:.1f} %, {number * sent:.1f} MB sent")
