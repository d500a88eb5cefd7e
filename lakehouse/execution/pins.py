"""Which version of each input a step reads: it is settled before anything is read, and recorded with what is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

from lakehouse.execution.outlook import Results, makers
from lakehouse.execution.results import StepResult
from lakehouse.lineage import InputPin
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Input, Step


@final
@dataclass(frozen=True)
class Pins:
    """The versions that a step reads.

    Parameters:
        step: the step
        versions: the version of each input, by its key: what the plan saw, or what the run has published since; None:
            there was no table
        batch: by the input's key, what a step of the same batch has made of it: a builder reads that in its place
    """

    step: Step
    versions: Mapping[str, int | None]
    batch: Mapping[str, StepResult] = field(default_factory=dict)

    @classmethod
    def of(cls, step: Step, results: Results) -> Pins:
        """What a step reads, after the steps before it have ended.

        Parameters:
            step: the step
            results: the outcomes of the steps that it comes after
        """
        versions: dict[str, int | None] = {}
        for given in step.inputs:
            # Several parameters may be of one asset, and they read it at one version.
            known = [versions.get(given.asset.key), given.version, *(made.version for made in makers(given, results))]
            versions[given.asset.key] = max((v for v in known if v is not None), default=None)
        return cls(step, versions)

    def observed(self, versions: Mapping[str, int]) -> Pins:
        """The same, with external assets as they were seen when they were read."""
        newest = {key: max(version, self.versions[key] or version) for key, version in versions.items()}
        return replace(self, versions={**self.versions, **newest})

    def beside(self, batch: Iterable[StepResult]) -> Pins:
        """The same, where one call of a builder has made inputs of the step along with it."""
        return replace(self, batch={made.asset: made for made in batch if made.published})

    def version(self, given: Input) -> int | None:
        """The newest version of an input that is read."""
        made = self.batch.get(given.asset.key)
        return self.versions[given.asset.key] if made is None else made.version

    def inputs(self, partitions: PartitionSet) -> tuple[InputPin, ...]:
        """What some partitions of the step are made from, as lineage keeps it."""
        return tuple(pin for given in self.step.inputs for pin in self._read(given, partitions))

    def _read(self, given: Input, partitions: PartitionSet) -> list[InputPin]:
        """An input at one version; at two, where the batch made a part of it."""
        key = given.asset.key
        needed = self.step.mapping(given).upstream(partitions) & given.partitions
        made = self.batch.get(key)
        if made is None or not made.published & needed:
            return [InputPin(asset=key, version=self.versions[key], partitions=needed.to_pairs())]
        own = made.published & needed
        pins = [InputPin(asset=key, version=made.version, partitions=own.to_pairs())]
        if needed - own:
            pins.append(InputPin(asset=key, version=self.versions[key], partitions=(needed - own).to_pairs()))
        return pins
