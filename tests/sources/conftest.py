from tests.support.command_line import home as home
from tests.support.command_line import plain as plain
