from tests.support.command_line import home as home
from tests.support.command_line import plain as plain
from tests.support.command_line import says as says
from tests.support.command_line import toys as toys
