"""What a teacher said of the completion tokens of rows: written once, read by key, always checked.

The files are described in docs/formats.md.
"""

from mwalimu.signals.encoding import Encoding as Encoding
from mwalimu.signals.flat import DenseEncoding as DenseEncoding
from mwalimu.signals.flat import HiddenEncoding as HiddenEncoding
from mwalimu.signals.flat import RealisedEncoding as RealisedEncoding
from mwalimu.signals.manifest import Identity as Identity
from mwalimu.signals.reader import Request as Request
from mwalimu.signals.reader import SignalReader as SignalReader
from mwalimu.signals.signal import Dense as Dense
from mwalimu.signals.signal import Hidden as Hidden
from mwalimu.signals.signal import Realised as Realised
from mwalimu.signals.signal import Sampled as Sampled
from mwalimu.signals.signal import Signal as Signal
from mwalimu.signals.signal import TopK as TopK
from mwalimu.signals.sparse import SampledEncoding as SampledEncoding
from mwalimu.signals.sparse import TopKEncoding as TopKEncoding
from mwalimu.signals.writer import SignalWriter as SignalWriter
