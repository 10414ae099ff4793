"""What the sample store is compared with: a file per sample (torch.save, npy), an LMDB record per key, a raw file."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb
import numpy as np
from edgecl.storage import SampleStore, StreamSchema


class Contender:
    """write(first id, samples [n, bytes], classes [n]) one group; read(ids) -> [n, bytes]."""

    name = ""

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        self.path, self.payload, self.durable = path, payload, durable
        path.mkdir()

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        raise NotImplementedError

    def read(self, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def flash_bytes(self) -> int:
        """Allocated blocks of everything it wrote."""
        return sum(f.stat().st_blocks * 512 for f in self.path.rglob("*") if f.is_file())


class Ours(Contender):
    name = "edgecl"

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        super().__init__(path, payload, durable)
        mode = "durable" if durable else "batched:1000"
        self.store = SampleStore(path, StreamSchema((payload,)), durability=mode)

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        ticket = self.store.append(samples, classes)
        if self.durable:
            ticket.wait()

    def read(self, ids: np.ndarray) -> np.ndarray:
        batch = self.store.read(ids)
        assert batch["ok"].all()
        return batch["samples"]

    def close(self) -> None:
        self.store.close()


class FilePerSample(Contender):
    def put(self, file, row: np.ndarray) -> None:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def get(self, path: Path) -> np.ndarray:
        raise NotImplementedError

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        for i, row in enumerate(samples):
            with open(self.path / f"{first + i}", "wb") as file:
                self.put(file, row)
                if self.durable:
                    file.flush()
                    os.fsync(file.fileno())
        if self.durable:
            fd = os.open(self.path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    def read(self, ids: np.ndarray) -> np.ndarray:
        return np.stack([self.get(self.path / f"{i}") for i in ids.tolist()])


class NpyFiles(FilePerSample):
    name = "npy per file"

    def put(self, file, row: np.ndarray) -> None:  # type: ignore[no-untyped-def]
        np.save(file, row)

    def get(self, path: Path) -> np.ndarray:
        return np.load(path)


class TorchFiles(FilePerSample):
    name = "torch.save per file"

    def put(self, file, row: np.ndarray) -> None:  # type: ignore[no-untyped-def]
        import torch

        torch.save(torch.from_numpy(row), file)

    def get(self, path: Path) -> np.ndarray:
        import torch

        return torch.load(path, weights_only=True).numpy()


class LmdbKeys(Contender):
    name = "lmdb record per key"

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        super().__init__(path, payload, durable)
        self.env = lmdb.open(str(path), map_size=1 << 33, sync=durable, metasync=durable)

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        with self.env.begin(write=True) as txn:
            for i, row in enumerate(samples):
                key = (first + i).to_bytes(8, "big")
                txn.put(key, bytes([int(classes[i])]) + row.tobytes(), append=True)

    def read(self, ids: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids), self.payload), np.uint8)
        with self.env.begin(buffers=True) as txn:
            for i, id_ in enumerate(ids.tolist()):
                out[i] = np.frombuffer(txn.get(id_.to_bytes(8, "big")), np.uint8)[1:]
        return out

    def close(self) -> None:
        self.env.sync(True)
        self.env.close()


class Raw(Contender):
    """The ceiling of the device: it knows neither class nor damage."""

    name = "raw write + fdatasync"

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        super().__init__(path, payload, durable)
        self.fd = os.open(path / "data", os.O_RDWR | os.O_CREAT)

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        os.pwrite(self.fd, samples, first * self.payload)
        if self.durable:
            os.fdatasync(self.fd)

    def read(self, ids: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids), self.payload), np.uint8)
        for i, id_ in enumerate(ids.tolist()):
            os.preadv(self.fd, [out[i]], id_ * self.payload)
        return out

    def close(self) -> None:
        os.close(self.fd)


PEERS: tuple[type[Contender], ...] = (Ours, LmdbKeys, Raw, NpyFiles, TorchFiles)
