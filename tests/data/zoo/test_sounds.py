"""Recordings of every depth, rate and length become cepstral windows, or are named as broken."""

import struct

import numpy as np
import pytest

from edgecl.data.audio import RATE, mfcc
from edgecl.data.readers.decode import Unreadable
from edgecl.data.readers.sounds import cut_sound, read_sound
from edgecl.data.readers.wav import resampled


def tone(hz=440.0, seconds=1.0, rate=RATE):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def wav(sound, bits=16, rate=RATE, kind=1, channels=1, extensible=False, size=None):
    """Bytes of a WAV file of ``sound`` in -1..1, the same in all channels."""
    flat = np.repeat(sound, channels)
    if kind == 3:
        data = flat.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = np.round(flat * 127 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(flat * (2.0 ** (bits - 1) - 1)).astype("<i8")
        data = whole.view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * block, block, bits)
    if extensible:
        form += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", kind) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    head += b"data" + struct.pack("<I", len(data) if size is None else size)
    return b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data


FORMS = {
    "8 bit": {"bits": 8}, "16 bit": {}, "24 bit": {"bits": 24}, "32 bit": {"bits": 32},
    "float": {"bits": 32, "kind": 3}, "double": {"bits": 64, "kind": 3}, "stereo": {"channels": 2},
    "six channels, 24 bit": {"bits": 24, "channels": 6}, "extensible": {"bits": 24, "extensible": True},
    "extensible float": {"bits": 32, "kind": 3, "extensible": True}, "streamed": {"size": 0xFFFFFFFF},
    "never closed": {"size": 0},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_depth_gives_the_same_sound(tmp_path, form):
    (tmp_path / "x.wav").write_bytes(wav(tone(), **FORMS[form]))
    got = read_sound(tmp_path / "x.wav")
    assert got.dtype == np.float32 and np.abs(got - tone()).max() < (0.01 if form == "8 bit" else 1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_every_rate_gives_the_same_tone(tmp_path, rate):
    (tmp_path / "x.wav").write_bytes(wav(tone(1000, rate=rate), rate=rate))
    got = read_sound(tmp_path / "x.wav")
    assert got.size == RATE
    assert np.abs(got - tone(1000))[100:-100].max() < 0.003


def test_what_the_lower_rate_cannot_hold_is_gone_after_resampling():
    high = tone(15_000, rate=48_000).astype(np.float32)
    assert np.abs(resampled(high, 48_000, RATE)[200:-200]).max() < 0.003


BAD = {
    "empty": (b"", "empty"), "text": (b"hello" * 9, "no WAV"), "header alone": (wav(tone())[:60], "cut short"),
    "cut": (wav(tone())[:-1000], "cut short"), "mu-law": (wav(tone(), bits=8, kind=7), "compressed WAV"),
    "NaN": (wav(np.full(RATE, np.nan), bits=32, kind=3), "NaN"), "12 bit": (wav(tone(), bits=16).replace(
        struct.pack("<HH", 2, 16), struct.pack("<HH", 5, 40)), "40-bit"), "no samples": (wav(tone()[:0]), "empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_says_why(tmp_path, name):
    content, reason = BAD[name]
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        read_sound(tmp_path / "x.wav")


def words(root, names=("anna-0", "anna-1", "ben-0", "ben-1", "cy-0", "cy-1"), **options):
    for word, hz in (("yes", 400), ("no", 900)):
        (root / word).mkdir(parents=True)
        for i, name in enumerate(names):
            (root / word / f"{name}.wav").write_bytes(wav(tone(hz + 9 * i, **options)))
    return root


def test_a_folder_of_words_goes_through_the_front_end_of_keywords(tmp_path, read):
    got = read(words(tmp_path / "in"))
    assert (got.facts["kind"], got.facts["samples"], got.facts["shape"]) == ("sounds", 12, [10, 1, 49])
    sound = read_sound(tmp_path / "in" / "no" / "anna-0.wav")
    assert np.array_equal(got.data.samples.read(np.array([0]))[0], mfcc(sound))


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("anna-0", "anna-1", "ben-0", "ben-1", "cy-0", "cy-1"), "1 unseen subject (cy)"),
        (("a1f0_nohash_0", "a1f0_nohash_1", "b2_nohash_0", "c3_nohash_0"), "1 unseen subject (c3)"),
        (("rec-0", "rec-1", "rec-2", "rec-3"), "last 20 %"),
        (("one", "two", "three", "four"), "last 20 %"),
    ],
)
def test_speakers_are_told_by_names_of_files_and_an_unseen_one_tests(tmp_path, read, names, split):
    assert split in read(words(tmp_path / "in", names)).split


def test_long_recordings_are_cut_and_test_by_file(tmp_path, read):
    got = read(words(tmp_path / "in", ("a", "b", "c", "d", "e"), seconds=3.2))
    assert got.facts["samples"] == 2 * 5 * 6 and got.split == "tested on unseen files"
    assert "10 longer files cut every 0.5 s" in got.facts["notes"]
    test = got.data.test
    assert not set(got.data.files[test]) & set(got.data.files[~test])
    assert read(tmp_path / "in", window="2s", hop="100%").facts["shape"] == [10, 1, 99]


def test_a_short_word_in_a_long_silence_is_one_sample_with_the_word_in_it():
    sound = np.zeros(4 * RATE, np.float32)
    sound[40_000:44_000] = 1
    (piece,) = cut_sound(sound, RATE, RATE // 2)
    assert piece.sum() == 4000 and 5000 < np.flatnonzero(piece)[0] < 7000


def test_broken_silent_and_foreign_files_are_named(tmp_path, agrees):
    root = words(tmp_path / "in")
    (root / "yes" / "anna-0.wav").write_bytes(b"RIFF")
    (root / "yes" / "ben-0.mp3").write_bytes(b"ID3")
    (root / "no" / "anna-0.wav").write_bytes(wav(np.zeros(RATE)))
    agrees(root, {}, {"refused": r"yes/ben-0\.mp3 \(no reader for \.mp3\), yes/anna-0\.wav \(damaged"})
    agrees(root, {"skip_broken": True}, {"samples": 11, "warnings": ["lost 2 of 7", "1 of 12 files hold silence"]})


def test_flac_is_the_same_sound(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "x.flac", tone(), RATE)
    assert np.abs(read_sound(tmp_path / "x.flac") - tone()).max() < 1e-4
    (tmp_path / "y.flac").write_bytes((tmp_path / "x.flac").read_bytes()[:30])
    with pytest.raises(Unreadable, match="damaged"):
        read_sound(tmp_path / "y.flac")
