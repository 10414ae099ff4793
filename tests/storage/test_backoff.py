import numpy as np
from edgecl.storage.backoff import LEVELS, WINDOW, BackOff


def serve(backoff, capacity, steps, asked=16):
    """A device that serves ``capacity`` swaps a step: swaps done, by step, and the shares on the way."""
    done, shares = [], []
    for step in range(steps):
        let = len(backoff.admit(step, np.arange(asked)))
        _, interval = LEVELS[backoff.level]
        in_time = min(let, int(capacity * interval))
        backoff.settled(in_time, let - in_time)
        done.append(in_time)
        shares.append(backoff.share)
    return np.array(done), shares


def test_a_device_that_keeps_up_is_never_backed_off():
    done, shares = serve(BackOff(), 16, 400)
    assert set(shares) == {1.0} and done.sum() == 400 * 16


def test_falling_behind_halves_the_swaps_until_flash_follows_and_no_further():
    for capacity, expected in ((9, 1.0), (6, 0.5), (3, 0.25), (1, 0.1)):
        done, shares = serve(BackOff(patience=10**9), capacity, 1200)
        assert shares[-1] == expected
        assert done[600:].sum() >= 0.8 * min(capacity, 16) * 600  # and most of what it can serve is done


def test_when_flash_recovers_so_do_the_swaps():
    backoff = BackOff()
    serve(backoff, 3, 400)
    assert backoff.share <= 0.5
    _, shares = serve(backoff, 16, 2000)
    assert shares[-1] == 1.0


def test_a_raise_that_proves_wrong_is_tried_less_and_less():
    backoff = BackOff()
    for _ in range(3):
        backoff.level = 2
        while backoff.level == 2:
            backoff.settled(WINDOW, 0)
        backoff.settled(WINDOW // 10, WINDOW)
    assert backoff.patience == 32


def test_what_is_let_through_is_spread_over_the_request():
    backoff = BackOff()
    backoff.level = 3
    assert backoff.admit(5, np.arange(10)).tolist() == [0, 2, 4, 6, 8]
    assert len(backoff.admit(6, np.arange(10))) == 0


def test_its_state_travels():
    a, b = BackOff(), BackOff()
    serve(a, 2, 100)
    b.load(a.state())
    assert (b.level, b.patience) == (a.level, a.patience)
