"""Replay larger than RAM: a sample store on flash, an episodic memory in RAM, a carousel between them."""

from . import errors as errors
from .audit import Finding as Finding
from .audit import audit as audit
from .carousel import Carousel as Carousel
from .forgetting import Forgotten as Forgotten
from .keys import KeyFile as KeyFile
from .keys import RootKey as RootKey
from .memory import EpisodicMemory as EpisodicMemory
from .policies import POLICIES as POLICIES
from .policies import ArrayCandidates as ArrayCandidates
from .policies import MemoryPolicy as MemoryPolicy
from .policies import StoreCandidates as StoreCandidates
from .policies import make_policy as make_policy
from .readahead import ReadAhead as ReadAhead
from .schema import FieldSpec as FieldSpec
from .schema import StreamSchema as StreamSchema
from .store import DamagedRecord as DamagedRecord
from .store import SampleStore as SampleStore
from .ticket import Ticket as Ticket
from .transfer import export_store as export_store
from .transfer import import_store as import_store
from .wear import WriteMeter as WriteMeter
from .wear import device_bytes_written as device_bytes_written
from .wear import endurance_years as endurance_years
