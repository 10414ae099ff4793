"""Keyword speech: cepstral features, placement in noise, folders of recordings. Speaks only where the set is here."""

import wave

import numpy as np
import pytest

from edgecl.data import fetch_stream_data, load_stream
from edgecl.data.audio import RATE, SECOND, mfcc, one_second
from edgecl.data.keywords import TAKES, TEST_NUMBERS, VOICES, WORDS, _trim, take
from edgecl.data.readers.sounds import read_sound
from edgecl.errors import EdgeclError
from edgecl.fronts import LogMel


def tone(hz, seconds=0.5):
    return np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE).astype(np.float32) * 0.5


def write_wav(path, sound, rate=RATE, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))
    for word, hz in (("yes", 400), ("no", 800), ("up", 1600), ("down", 3000)):
        for number in range(4):
            write_wav(tmp_path / "wav" / word / f"anna-{number:02d}.wav", tone(hz * (1 + number / 50)))
    return tmp_path / "wav"


def test_features_are_ten_coefficients_in_49_frames():
    features = mfcc(one_second(tone(500), 0))
    assert features.shape == (10, 1, 49) and features.dtype == np.float32 and np.isfinite(features).all()


def test_the_first_coefficient_follows_loudness_over_time():
    loud = mfcc(one_second(tone(500, 0.4), SECOND // 2))[0, 0]
    assert loud[30] > loud[5] + 10


def test_features_agree_with_the_cosine_transform_of_log_band_energies():
    """The DCT is scipy's orthonormal DCT-II; band energies are checked by where a tone's energy falls."""
    scipy_fft = pytest.importorskip("scipy.fft")
    from edgecl.data import audio

    bands = np.random.default_rng(0).normal(size=(7, audio.BANDS))
    assert np.allclose(bands @ audio._dct().T, scipy_fft.dct(bands, norm="ortho")[:, : audio.COEFFICIENTS])
    filters = audio._mel_filters()
    for hz in (300, 1000, 3000):
        here = filters[:, round(hz * audio.FFT / RATE)]
        assert 0.9 < here.sum() < 1.1 and np.count_nonzero(here) <= 2


def test_a_tone_is_told_from_another_through_noise():
    rng = np.random.default_rng(0)
    means = [np.mean([mfcc(take(tone(hz), rng)) for _ in range(8)], axis=0)[1:] for hz in (400, 2500)]
    for right, hz in enumerate((400, 2500)):
        heard = mfcc(take(tone(hz), rng))[1:]
        assert np.argmin([np.abs(heard - m).sum() for m in means]) == right


def test_long_sounds_lose_their_edges_and_short_ones_stay_whole():
    long = np.arange(SECOND + 100, dtype=np.float32)
    assert np.array_equal(one_second(long, 3), long[50:-50])
    short = one_second(np.ones(10, np.float32), SECOND)
    assert short.sum() == 10 and short[-10:].all()


def test_noise_and_place_follow_the_generator():
    a, b, c = (take(tone(500), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.isfinite(take(np.zeros(0, np.float32), np.random.default_rng(0))).all()


def test_a_folder_of_recordings_becomes_a_stream_of_words(recordings):
    fetch_stream_data("keywords", recordings)
    stream = load_stream("keywords", fetch=False)
    assert stream.labels == ("yes", "no", "up", "down")
    assert stream.input_shape == (10, 1, 49) and stream.kind == "signal"
    assert (stream.train_size, stream.test_size) == (4 * 3 * TAKES, 4 * 1 * TAKES)


def test_fetching_twice_gives_the_same_bytes(recordings):
    folder = fetch_stream_data("keywords", recordings)
    first = (folder / "samples.raw").read_bytes()
    assert (fetch_stream_data("keywords", recordings) / "samples.raw").read_bytes() == first


def test_raw_seconds_through_logmel_are_the_samples_of_the_keywords_stream_bit_for_bit(recordings):
    """The stream draws place and noise of every take from one generator; the same draws give the raw seconds."""
    fetch_stream_data("keywords", recordings)
    stream = load_stream("keywords", fetch=False)
    rng = np.random.default_rng(0)
    raw, units = [], []
    for unit, word in enumerate([w for w in WORDS if (recordings / w).is_dir()]):
        for file in sorted((recordings / word).glob("*.wav")):
            sound = _trim(read_sound(file))
            raw += [take(sound, rng) for _ in range(TAKES)]
            units += [unit] * TAKES
    front = LogMel().placed((1, 1, SECOND), "float32")
    ours = np.concatenate([front(second[None, None, None]) for second in raw])
    found = 0
    for task in stream.tasks:
        for source in (task.train, task.test):
            theirs = source.read(np.arange(len(source)))
            for unit in np.unique(source.labels):
                mine, known = ours[np.array(units) == unit], theirs[source.labels == unit]
                assert all((mine == sample).all(axis=(1, 2, 3)).any() for sample in known)
                found += len(known)
    assert found == len(ours) and stream.input_shape == ours.shape[1:]


def test_recordings_at_another_rate_and_in_stereo_are_taken(recordings):
    write_wav(recordings / "yes" / "anna-00.wav", tone(400)[::2], rate=8000)
    write_wav(recordings / "no" / "anna-00.wav", np.repeat(tone(800), 2), channels=2)
    fetch_stream_data("keywords", recordings)
    assert load_stream("keywords", fetch=False).train_size == 4 * 3 * TAKES


@pytest.mark.parametrize("fault", ["not wav", "name", "no words"])
def test_recordings_of_another_form_are_refused_by_name(recordings, fault):
    file = recordings / "yes" / "anna-00.wav"
    if fault == "not wav":
        file.write_bytes(b"hello")
    elif fault == "name":
        file.rename(file.with_name("anna.wav"))
    source = recordings / "yes" if fault == "no words" else recordings
    with pytest.raises(EdgeclError) as error:
        fetch_stream_data("keywords", source)
    assert error.value.remedy


def test_the_rendered_set_is_split_by_prosody_when_it_is_here(monkeypatch):
    monkeypatch.delenv("EDGECL_CACHE", raising=False)
    try:
        stream = load_stream("keywords", fetch=False)
    except EdgeclError as error:
        pytest.skip(error.cause)
    each = len(VOICES) * TAKES
    assert stream.labels == WORDS and len(stream.tasks) == 10
    assert all(len(t.train) == 3 * (16 - len(TEST_NUMBERS)) * each for t in stream.tasks)
    assert all(len(t.test) == 3 * len(TEST_NUMBERS) * each for t in stream.tasks)
    stream.close()
