"""Which resource is meant: keys that hold the parts of a resource name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class DatasetKey:
    """Which dataset of which brand."""

    brand: str
    dataset: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"brands/{self.brand}/datasets/{self.dataset}"


@dataclass(frozen=True, slots=True)
class ImageKey:
    """Which picture of which dataset."""

    parent: DatasetKey
    image: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.parent.name}/images/{self.image}"


@dataclass(frozen=True, slots=True)
class TextKey:
    """Which text of which dataset."""

    parent: DatasetKey
    text: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.parent.name}/texts/{self.text}"


@dataclass(frozen=True, slots=True)
class JobKey:
    """Which label job of which dataset."""

    parent: DatasetKey
    job: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.parent.name}/labelJobs/{self.job}"


@dataclass(frozen=True, slots=True)
class RevisionKey:
    """Which revision of which dataset; number 0 stands for the latest."""

    parent: DatasetKey
    revision: int

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.parent.name}/revisions/{self.revision or 'latest'}"
