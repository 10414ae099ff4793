"""`edgecl feed`: the device's own camera, microphone or sensor, brought to a running service."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput
from .ctl import TOKEN

if TYPE_CHECKING:
    from ..feed import Source, Taken

HELP = """Bring this device's own camera, microphone or sensor to a running service.

What is fed shows on the page under "Device", live, with predictions, and is taught there by holding a class. Nothing of
it is kept unless you teach it. While nobody looks, one sample a second is sent.

Examples:

  edgecl feed camera                            (the first camera; then open the page: Device)

  edgecl feed camera --predict                  (print what it sees; what it is unsure of waits for a label)

  edgecl feed camera --label cat --count 20     (teach 20 pictures without a page)

  edgecl feed camera --play pictures            (a folder of pictures, played as a camera)

  edgecl feed microphone --play street.wav

  edgecl feed serial /dev/ttyUSB0 --baud 115200 (lines of numbers, one for each channel)"""
app = typer.Typer(help=HELP, no_args_is_help=True)
PLACES = ("/run/edgecl/api.sock", "edgecl-teach/run/api.sock")

ADDRESS = typer.Option(
    None, "--address", metavar="ADDRESS",
    help=f"of the service: unix:PATH, http://HOST:PORT; default: {' or '.join(PLACES)}",
)  # fmt: skip
CERTIFICATE = typer.Option(None, "--certificate", metavar="FILE", help="of the service (PEM), over https")
NAME = typer.Option(None, "--name", metavar="NAME", help="of the feed on the page; default: the command's")
PREDICT = typer.Option(False, "--predict", help="print what it sees; what it is unsure of waits for a label")
LABEL = typer.Option(None, "--label", metavar="LABEL", help="teach: take the samples as of this class")
SUBJECT = typer.Option(None, "--subject", metavar="N", help="whose samples they are, with --label")
COUNT = typer.Option(None, "--count", min=1, metavar="N", help="end after so many samples")
ONCE = typer.Option(False, "--once", help="end where the recording ends")
GIVE_UP = typer.Option(None, "--give-up", min=0.0, metavar="S", help="seconds without the service; default: for ever")
JSON = typer.Option(False, "--json", help="print each answer as JSON")
RATE = typer.Option(10.0, "--rate", metavar="N", help="samples a second at most")


@app.command("camera", help="A camera (0, /dev/video0; pi: the Raspberry Pi's through picamera2), a film, or --play.")
def camera(
    device: str = typer.Argument("0", metavar="DEVICE", help="0, /dev/video0, pi, or a film's file"),
    play: str = typer.Option(None, "--play", metavar="DIR", help="a folder of pictures in place of a camera"),
    hold: float = typer.Option(0.5, "--hold", min=0.0, metavar="SECONDS", help="how long each of it is shown"),
    width: int = typer.Option(320, "--width", min=16, max=1280, metavar="PIXELS", help="of what is sent"),
    rate: float = RATE, name: str = NAME, predict: bool = PREDICT, label: str = LABEL, subject: int = SUBJECT,
    count: int = COUNT, once: bool = ONCE, as_json: bool = JSON,
    address: str = ADDRESS, token: str = TOKEN, certificate: str = CERTIFICATE, give_up: float = GIVE_UP,
) -> int:  # fmt: skip
    from ..feed import camera as cameras

    def made(taken: Taken) -> Source:
        taken.check_pictures()
        if play is None:
            return cameras.camera(device, width, once)
        return cameras.Folder(play, width, 0.0 if predict or label is not None else hold, once)  # a sample once

    return _feed(made, name or "camera", locals())


@app.command("microphone", help="A microphone through ALSA (arecord), or --play.")
def microphone(
    device: str = typer.Argument(None, metavar="DEVICE", help="as `arecord -L` names it; default: ALSA's own"),
    play: str = typer.Option(None, "--play", metavar="FILE.wav", help="a recording in place of a microphone"),
    hertz: int = typer.Option(16000, "--hz", min=1000, max=192000, metavar="HZ", help="values a second of a sample"),
    rate: float = RATE, name: str = NAME, predict: bool = PREDICT, label: str = LABEL, subject: int = SUBJECT,
    count: int = COUNT, once: bool = ONCE, as_json: bool = JSON,
    address: str = ADDRESS, token: str = TOKEN, certificate: str = CERTIFICATE, give_up: float = GIVE_UP,
) -> int:  # fmt: skip
    from ..feed import sound

    def made(taken: Taken) -> Source:
        return sound.Microphone(taken, hertz, device) if play is None else sound.Wav(taken, hertz, play, once)

    return _feed(made, name or "microphone", locals())


@app.command("serial", help="Lines of numbers from a serial port, one number for each channel.")
def serial(
    port: str = typer.Argument(..., metavar="PORT", help="such as /dev/ttyUSB0"),
    baud: int = typer.Option(115200, "--baud", min=50, metavar="BITS", help="a second"),
    rate: float = RATE, name: str = NAME, predict: bool = PREDICT, label: str = LABEL, subject: int = SUBJECT,
    count: int = COUNT, as_json: bool = JSON,
    address: str = ADDRESS, token: str = TOKEN, certificate: str = CERTIFICATE, give_up: float = GIVE_UP,
) -> int:  # fmt: skip
    from ..feed.inertial import Serial

    return _feed(lambda taken: Serial(taken, port, baud), name or "serial", locals())


@app.command("iio", help="An inertial sensor that the kernel knows (IIO): accelerations in g, turns in rad/s.")
def iio(
    sensor: str = typer.Argument(..., metavar="DIR", help="such as /sys/bus/iio/devices/iio:device0"),
    hertz: float = typer.Option(50.0, "--hz", min=0.1, max=1000.0, metavar="HZ", help="readings a second"),
    channels: str = typer.Option(None, "--channels", metavar="A,B", help="such as accel_x,accel_y; default: all"),
    rate: float = RATE, name: str = NAME, predict: bool = PREDICT, label: str = LABEL, subject: int = SUBJECT,
    count: int = COUNT, as_json: bool = JSON,
    address: str = ADDRESS, token: str = TOKEN, certificate: str = CERTIFICATE, give_up: float = GIVE_UP,
) -> int:  # fmt: skip
    from ..feed.inertial import Iio

    wanted = None if channels is None else tuple(channels.split(","))
    return _feed(lambda taken: Iio(taken, sensor, hertz, wanted), name or "iio", locals())


def _feed(made: Callable[[Taken], Source], name: str, said: dict[str, Any]) -> int:
    """Feed what ``made`` opens; ``said``: the options that every feeder has."""
    from ..feed import Feeding, Taken
    from ..service import Client
    from ..service.wire import token_in

    rate, label = said["rate"], said["label"]
    if not 0 < rate <= 60:
        raise BadInput(f"--rate is {rate}.", "Give samples a second, at most 60.")
    if said["predict"] and label is not None:
        raise BadInput("--predict and --label do not go together.", "Leave one out.")
    if said["subject"] is not None and label is None:
        raise BadInput("--subject is said of samples without --label.", "Add --label NAME.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    token = token_in(said["token"])
    with Client(said["address"] or _address(), token=token, certificate=said["certificate"]) as client:
        source = made(Taken.of(client.status()))
        try:
            taken = Feeding(
                client, source, name, rate, predict=said["predict"], label=label, subject=said["subject"],
                count=said["count"], give_up=said["give_up"], as_json=said["as_json"],
            ).run()  # fmt: skip
        except KeyboardInterrupt:  # how a feeder is ended
            return 0
        finally:
            source.close()
    if not said["as_json"]:
        print(f"{taken} samples were {'taught' if label is not None else 'sent'}.")
    return 0


def _address() -> str:
    """The first socket that is there."""
    return "unix:" + os.path.abspath(next((path for path in PLACES if os.path.exists(path)), PLACES[0]))
