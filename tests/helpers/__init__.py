"""What the tests share. Each module has one subject; tests import from here."""

from helpers.ends import *  # noqa: F403
from helpers.inspected import *  # noqa: F403
from helpers.pages import *  # noqa: F403
from helpers.peers import *  # noqa: F403
from helpers.redis import *  # noqa: F403
from helpers.requests import *  # noqa: F403
from helpers.scripted import *  # noqa: F403
from helpers.servers import *  # noqa: F403
from helpers.tmux import *  # noqa: F403
from helpers.v1 import *  # noqa: F403
from helpers.waiting import *  # noqa: F403
