"""The one training loop: any method, on a CPU, a GPU or many, stopped and resumed without a trace.

All luck is a function of the seed and the step: batches and augmentation of (seed, epoch, picture), dropout of (seed,
step, process). So a training that goes on from a checkpoint arrives at the same weights, bit by bit, on one CPU with as
many threads (`OMP_NUM_THREADS`): more of them add up in another order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
from torch import Tensor, nn

from halfseen.data.embeddings import Encoded
from halfseen.data.files import whole
from halfseen.data.loading import CueSources, Loader, Paired, Pictures, labels_of
from halfseen.data.memory import Memory
from halfseen.data.sampling import IdentityBatches
from halfseen.data.variants import bank, twins
from halfseen.encode import Look, encode, handed, normalised, with_twins
from halfseen.evaluate import evaluate
from halfseen.heap import freed_kept
from halfseen.printing import plain_scores
from halfseen.processes import LostError
from halfseen.recipe import Method, Recipe, learning_rate
from halfseen.streams import Behind
from halfseen.training.checkpoints import State, load_checkpoint, save_checkpoint
from halfseen.training.learning import ALWAYS, Said, Step, check_recipe, check_triplets, freeze, learn, make_optimiser
from halfseen.training.log import Log, Meter
from halfseen.training.settings import Settings, augment_of, no_bar, say_nothing
from halfseen.training.setup import described, judge, launch
from halfseen.training.stopping import Stopped, StopSigns, blame
from halfseen.types import Batch, Embedding, Facts, InputError, Sample, Scores, Splits
from halfseen.weights import BEST, LAST, Card, Plain, make_network, plain, rebuilt, save_weights

CHECKPOINT, RUN = "last.ckpt", "run.json"
BAD_BATCH, SIDES = "bad-batch.safetensors", ("query", "gallery")


def train(
    method: Method,
    config: Any,
    recipe: Recipe,
    splits: Splits,
    cues: Mapping[str, CueSources],
    settings: Settings,
) -> dict[str, Scores] | None:
    """Train `method` on `splits`, or go on where that was stopped; the scores after the last epoch, by protocol.

    None where another process leads. `cues` by split, as `find_cues` finds them. Ctrl-C and SIGTERM end it at the next
    step (with several processes, at the next line of the log) with a checkpoint.
    """
    return Training(method, config, recipe, splits, cues, settings=settings).run()


class Training:
    """One training: what does not change, the network and its optimiser, and how far it is (`state`)."""

    def __init__(
        self,
        method: Method,
        config: Any,
        recipe: Recipe,
        splits: Splits,
        cues: Mapping[str, CueSources],
        *,
        settings: Settings,
    ) -> None:
        self.method, self.config, self.recipe = method.of(config), config, recipe
        self.splits, self.cues, self.settings = splits, cues, settings
        self.signs, self.state, self.fabric = StopSigns(), State(), launch(settings)
        self.leads, self.alone = self.fabric.is_global_zero, self.fabric.world_size == 1  # one writes and speaks
        self.bars, self.say = (settings.bars, settings.say) if self.leads else (no_bar, say_nothing)
        self.pictures, self.data = self._pictures(), described(splits, cues.get("train"))
        self.source = Paired(self.pictures, self._twins(0)) if recipe.twins else self.pictures
        self.judge = judge(splits, settings.protocols)
        pids = [sample.pid for sample in splits.train]
        rank, world = self.fabric.global_rank, self.fabric.world_size
        self.batches = IdentityBatches(pids, recipe.people, recipe.images, seed=settings.seed, rank=rank, world=world)
        self.steps = len(self.batches)  # of an epoch
        torch.manual_seed(settings.seed)
        begun = (settings.out / CHECKPOINT).exists()  # it holds all weights
        self.network = make_network(method, config, recipe, len(set(pids)), "none" if begun else settings.start)
        check_recipe(self.method, recipe, self.network, world, self.steps)
        check_triplets(self.method, config, recipe, self.network, lambda: self.source.batch(next(iter(self.batches))))
        freeze(self.network, recipe)
        self.network.to(memory_format=torch.channels_last)
        forward = cast(nn.Module, torch.compile(self.network)) if settings.compile else self.network
        self.module = self.fabric.setup_module(forward)
        self.optimiser = make_optimiser(self.network, recipe)
        self.under_way = Behind(self.fabric.device, Step.read)

    def _pictures(self) -> Pictures:
        splits, settings = self.splits, self.settings
        if not splits.train:
            raise InputError(f"{splits.name} has no training pictures; train on another set, and evaluate on this one")
        cues = self.cues.get("train")
        augment = augment_of(self.recipe, self.config.grouping if cues and cues.parts else None)
        parts, shared = bool(cues and cues.parts), settings.workers > 0
        memory = Memory(len(splits.train), augment, settings.memory, parts=parts, shared=shared)
        return Pictures(splits.train, augment, cues, labels=labels_of(splits.train), seed=settings.seed, memory=memory)

    def _twins(self, epoch: int) -> tuple[Sample, ...]:
        return twins(self.splits.train, f"{self.settings.seed}/{epoch}", bank(self.splits))

    def run(self) -> dict[str, Scores] | None:
        """All epochs that are left."""
        self._begin()
        with self.signs, closing(self.log), freed_kept(self.fabric.device.type):
            try:
                while self.state.epoch < self.recipe.epochs:
                    self._run_epoch()
            except (Stopped, LostError) as end:
                self.signs.check_meant(end)
                self._save_checkpoint()
                raise KeyboardInterrupt(
                    f"stopped after {self.state.done:,} of {self.recipe.epochs * self.steps:,} steps; "
                    f"the same command goes on from there"
                ) from None
        self._save_weights(LAST)
        return self._scores() if self.leads else None

    def _begin(self) -> None:
        """Make the folder, go on from its checkpoint if there is one, and open the log."""
        out, about = self.settings.made(), self.about()
        threads = torch.get_num_threads() if (self.fabric.device.type, self.fabric.world_size) == ("cpu", 1) else None
        if (out / CHECKPOINT).exists():
            about, self.state = load_checkpoint(
                out / CHECKPOINT, about, self.network, self.optimiser, unasked=judge(self.splits, ())
            )
            self.say(self.state.going_on(self.recipe.epochs * self.steps, threads))
        self.state.threads = threads
        self.log = Log(out, self.state.done, self.state.epoch, writes=self.leads, tensorboard=self.settings.tensorboard)
        if self.leads:
            told = {**about, "root": str(self.splits.root.absolute())}
            with whole(out / RUN) as beside:
                beside.write_text(json.dumps(told, indent=2) + "\n")

    def about(self) -> Plain:
        """Which training this is: where anything differs here, other weights come out."""
        start = self.settings.start
        return {
            "method": self.method.name,
            "config": plain(self.config),
            "recipe": plain(self.recipe),
            "data": self.data,
            "seed": self.settings.seed,
            "started_from": start.name if isinstance(start, Path) else start,
            "precision": self.settings.precision,
            "processes": self.fabric.world_size,
            "protocol": self.judge,
        }

    def _run_epoch(self) -> None:
        """The steps that are left of an epoch, evaluation if it is time, and a checkpoint."""
        epoch, recipe, settings = self.state.epoch, self.recipe, self.settings
        left, size = self._batches_left(), recipe.people * recipe.images
        meter, line = Meter(), Meter()
        with self.bars(f"epoch {epoch + 1} of {recipe.epochs}, images") as progress:
            for number, batch in enumerate(Loader(self.source, left, settings.workers), 1):
                step, done = self._step(self.handed(batch)), self.state.done
                logs = number == len(left) or (settings.interval and done % settings.interval == 0)
                saves = settings.save and done % settings.save == 0
                rests = bool(logs or saves or (self.alone and self.signs.seen))
                for heard, said in self.under_way.add(step, last=rests):
                    self._check(heard, said)
                    meter.add(*said, size)
                    line.add(*said, size)
                progress(done * size, recipe.epochs * self.steps * size)
                if logs:
                    self.log.write("steps", epoch + 1, done, line.summary())
                    line = Meter()
                if saves:
                    self._save_checkpoint()
                if rests:
                    self._check_signs()
        if left:
            self.say(f"epoch {epoch + 1} of {recipe.epochs}: {meter}")
        if epoch + 1 == recipe.epochs or (settings.every and (epoch + 1) % settings.every == 0):
            self._evaluate()
        self.state.epoch += 1
        self._save_checkpoint()

    def _batches_left(self) -> list[list[int]]:
        """Of this epoch, all pictures with its luck."""
        epoch = self.state.epoch
        self.source.set_epoch(epoch)
        self.batches.set_epoch(epoch)
        if isinstance(self.source, Paired):
            self.source.twins = self._twins(epoch)
        return list(self.batches)[self.state.done - epoch * self.steps :]

    def _step(self, batch: Batch) -> Step:
        """Learn from one batch. Nothing here waits for a GPU; where numbers are bad the weights stay as they are."""
        done = self.state.done
        rate = learning_rate(self.recipe, done / self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["speed"]
        torch.manual_seed(Random(f"{self.settings.seed} {done} {self.fabric.global_rank}").getrandbits(63))
        images, cues = with_twins(batch)
        output = self.module(normalised(self.network, images), cues)
        terms = self.method.losses(output, batch, self.config)
        self.optimiser.zero_grad()
        self.fabric.backward(torch.stack([*terms.values()]).sum())
        losses = {name: term.detach() for name, term in terms.items()}
        length = learn(self.optimiser, self.network, losses.values(), self.recipe.clip)
        self.state.done += 1
        return Step(done, batch, rate, losses, length, self._watched(output, batch))

    @torch.no_grad()
    def _watched(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        return self.method.watch(output, batch, self.config) if self.method.watch else {}

    def _check(self, step: Step, said: Said) -> None:
        """Numbers that are none end the training."""
        if not all(map(isfinite, (*said.losses.values(), said.others["gradient"]))):
            if step.number + 1 < self.state.done:  # its gradients are gone: have them again
                self.state.done = step.number
                self._step(step.batch)
            blame(step, said.losses, self.network, self.settings.out / BAD_BATCH)

    def handed(self, batch: Batch) -> Batch:
        """`batch` on the device, without the cues that the method did not declare."""
        return handed(batch, {*self.method.needs["train"], *ALWAYS}, self.fabric.device)

    def _evaluate(self) -> None:
        """Score the network on queries and gallery, and keep it if it is the best so far."""
        if self.leads and self.judge:
            self._save_checkpoint()  # the steps are to stay where there is no room for weights
            sides = [self._encoded(split, self._encode(split)) for split in SIDES]
            scores = evaluate(
                *sides, distance=self.method.distance, protocols=self.settings.protocols, progress=self._listen
            )
            self.state.scores = plain(scores)
            self.log.write("scores", self.state.epoch + 1, self.state.done, {"scores": plain_scores(scores)})
            for name, score in scores.items():
                self.say(f"  {name}: mAP {100 * score.mAP:.1f}, rank-1 {100 * score.cmc[0]:.1f}")
            first = next(iter(scores.values())).mAP
            if first > self.state.best:
                self.state.best = first
                self._save_weights(BEST)
        self.fabric.barrier()

    def _encode(self, split: str) -> Embedding:
        look = Look(self.pictures.augment, self.settings.precision, workers=self.settings.workers)
        samples, cues = self.splits.by_name[split], self.cues.get(split)
        with self.bars(f"encoding {split}") as progress:

            def tell(done: int, total: int) -> None:
                progress(done, total)
                self._listen(done, total)

            return encode(self.network, self.method, samples, look, cues=cues, progress=tell)

    def _encoded(self, split: str, embedding: Embedding) -> Encoded:
        return Encoded(embedding, Facts.of(self.splits.by_name[split]), has_cameras=self.splits.has_cameras)

    def _listen(self, _done: int, _all: int) -> None:
        self.signs.check()

    def _check_signs(self) -> None:
        """Of several processes all must stop at the same step, or the others wait for ever."""
        if not self.alone:
            seen = torch.tensor(float(self.signs.seen), device=self.fabric.device)
            self.signs.seen = bool(self.fabric.all_reduce(seen, reduce_op="max"))
        self.signs.check()

    def _save_checkpoint(self) -> None:
        if self.leads:
            path = self.settings.out / CHECKPOINT
            save_checkpoint(path, self.about(), self.state, self.network, self.optimiser)

    def _scores(self) -> dict[str, Scores]:
        return {name: rebuilt(Scores, entries) for name, entries in self.state.scores.items()}

    def _save_weights(self, name: str) -> None:
        if self.leads:
            about = self.about()
            told = {key: about[key] for key in ("method", "config", "recipe", "data", "seed", "started_from")}
            card = Card(**told, epoch=self.state.done // self.steps, scores=plain_scores(self._scores()))
            save_weights(self.settings.out / name, self.method, self.network, card)
