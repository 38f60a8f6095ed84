"""Every error a caller of NGX Agents can meet, as one tree.

NgxError
├── ConfigError                     the configuration cannot be used; the message names the setting
├── RequestError                    the caller must change the request
│   ├── InvalidRequest              malformed or out of bounds; `field` says where
│   ├── Unauthenticated             no credentials, or none that verify
│   ├── Forbidden                   the role does not allow it
│   ├── NotFound                    absent, or not the caller's: the two look the same
│   ├── BodyTooLarge                over `limit_bytes`
│   ├── HeadersTooLarge             over `limit_bytes`
│   ├── TooSlow                     headers or body did not come in time
│   ├── UnsupportedMediaType        the body is not JSON
│   ├── MethodNotAllowed            the path is known, the method is not; `allowed` lists those that are
│   ├── ConversationBusy            a turn is running and `when_busy` is `reject`; carries `turn_id`
│   ├── StorageFull                 all that one user may keep is used: something must go first; `limit_bytes`
│   ├── StateTooLarge               a conversation's state is over `limit_bytes`; the former one stands
│   ├── StateConflict               the state was saved by someone else since it was read; carries both versions
│   ├── ConsentRequired             the user has not agreed to what this would store; `kind` says to what
│   ├── RateLimited                 a limit of the plan is used up: `quota` says which; carries `retry_after_s`
│   │   └── BudgetSpent             a budget that blocks is spent: no turn begins until its period ends
│   ├── IdempotencyConflict         the key was used with another body
│   └── TurnFinished                the turn has ended and cannot be cancelled
├── Unavailable                     later, or elsewhere, it will work; carries `retry_after_s`
│   ├── Overloaded                  a bound was reached
│   ├── QuotaExceeded               the caller has as many of these at once as they may have
│   ├── ShareExceeded               the tenant's share is used up, not the server
│   ├── ReadOnly                    history is served, new turns are not
│   ├── Draining                    the server is stopping
│   ├── JournalUnavailable          the journal cannot be reached or written
│   ├── ObjectsUnavailable          the store of attachments cannot be reached, or refuses this server
│   └── SharedUnavailable           what instances share (Redis) cannot be reached in time; do without
├── SharedRefused                   too large or out of bounds to be shared: do without; `field` says what
├── JournalError                    the journal refuses for good
│   ├── JournalTooNew               written by a newer program; carries both versions
│   ├── JournalLocked               another server process has it open
│   ├── StateCorrupt                stored bytes that cannot be read
│   ├── ShardMoved                  the shard takes no writes on this server: ask where it is now
│   └── LeaseLost                   the lane was granted to someone else: stop, write nothing
├── TurnError                       a turn ended without an answer
│   ├── DeadlineExceeded
│   └── TurnCancelled
├── ModelError                      the model did not answer
│   ├── ModelAuthError              credentials missing, expired or refused
│   ├── ModelRequestError           the model refuses this request; no retry can help
│   ├── ModelNotFound               the model is unknown or absent in this location
│   ├── ModelThrottled              429; shared capacity or quota
│   ├── ModelUnavailable            5xx, refused, reset, or not reachable
│   ├── ModelTimeout                no answer in time
│   ├── SpendingStopped             a budget is spent, or an operator stopped it: `by` says which
│   ├── ModelBlocked                a safety filter blocked the prompt or the answer
│   └── ModelProtocolError          the answer cannot be understood
└── RemoteError                     an agent or tool server elsewhere did not do its part
    ├── RemoteUnavailable           not reachable, failing, or left alone for now; carries `retry_after_s`
    ├── RemoteTimeout               no answer in time
    ├── RemoteRefused               it refuses this request or these credentials; no retry can help
    └── RemoteProtocolError         what it sends cannot be understood, is too large, or leads elsewhere

`code` is stable and what clients and logs see; `retryable` says whether the same call may succeed later.
"""

from __future__ import annotations

from ngx_agents.errors.base import ConfigError as ConfigError
from ngx_agents.errors.base import NgxError as NgxError
from ngx_agents.errors.later import Draining as Draining
from ngx_agents.errors.later import JournalUnavailable as JournalUnavailable
from ngx_agents.errors.later import ObjectsUnavailable as ObjectsUnavailable
from ngx_agents.errors.later import Overloaded as Overloaded
from ngx_agents.errors.later import QuotaExceeded as QuotaExceeded
from ngx_agents.errors.later import ReadOnly as ReadOnly
from ngx_agents.errors.later import SharedRefused as SharedRefused
from ngx_agents.errors.later import SharedUnavailable as SharedUnavailable
from ngx_agents.errors.later import ShareExceeded as ShareExceeded
from ngx_agents.errors.later import Unavailable as Unavailable
from ngx_agents.errors.model import ModelAuthError as ModelAuthError
from ngx_agents.errors.model import ModelBlocked as ModelBlocked
from ngx_agents.errors.model import ModelError as ModelError
from ngx_agents.errors.model import ModelNotFound as ModelNotFound
from ngx_agents.errors.model import ModelProtocolError as ModelProtocolError
from ngx_agents.errors.model import ModelRequestError as ModelRequestError
from ngx_agents.errors.model import ModelThrottled as ModelThrottled
from ngx_agents.errors.model import ModelTimeout as ModelTimeout
from ngx_agents.errors.model import ModelUnavailable as ModelUnavailable
from ngx_agents.errors.model import RemoteError as RemoteError
from ngx_agents.errors.model import RemoteProtocolError as RemoteProtocolError
from ngx_agents.errors.model import RemoteRefused as RemoteRefused
from ngx_agents.errors.model import RemoteTimeout as RemoteTimeout
from ngx_agents.errors.model import RemoteUnavailable as RemoteUnavailable
from ngx_agents.errors.model import SpendingStopped as SpendingStopped
from ngx_agents.errors.model import ThrottleKind as ThrottleKind
from ngx_agents.errors.requests import BodyTooLarge as BodyTooLarge
from ngx_agents.errors.requests import BudgetSpent as BudgetSpent
from ngx_agents.errors.requests import ConsentRequired as ConsentRequired
from ngx_agents.errors.requests import ConversationBusy as ConversationBusy
from ngx_agents.errors.requests import Forbidden as Forbidden
from ngx_agents.errors.requests import HeadersTooLarge as HeadersTooLarge
from ngx_agents.errors.requests import IdempotencyConflict as IdempotencyConflict
from ngx_agents.errors.requests import InvalidRequest as InvalidRequest
from ngx_agents.errors.requests import MethodNotAllowed as MethodNotAllowed
from ngx_agents.errors.requests import NotFound as NotFound
from ngx_agents.errors.requests import RateLimited as RateLimited
from ngx_agents.errors.requests import RequestError as RequestError
from ngx_agents.errors.requests import StateConflict as StateConflict
from ngx_agents.errors.requests import StateTooLarge as StateTooLarge
from ngx_agents.errors.requests import StorageFull as StorageFull
from ngx_agents.errors.requests import TooSlow as TooSlow
from ngx_agents.errors.requests import TurnFinished as TurnFinished
from ngx_agents.errors.requests import Unauthenticated as Unauthenticated
from ngx_agents.errors.requests import UnsupportedMediaType as UnsupportedMediaType
from ngx_agents.errors.turns import DeadlineExceeded as DeadlineExceeded
from ngx_agents.errors.turns import JournalError as JournalError
from ngx_agents.errors.turns import JournalLocked as JournalLocked
from ngx_agents.errors.turns import JournalTooNew as JournalTooNew
from ngx_agents.errors.turns import LeaseLost as LeaseLost
from ngx_agents.errors.turns import ShardMoved as ShardMoved
from ngx_agents.errors.turns import StateCorrupt as StateCorrupt
from ngx_agents.errors.turns import TurnCancelled as TurnCancelled
from ngx_agents.errors.turns import TurnError as TurnError
