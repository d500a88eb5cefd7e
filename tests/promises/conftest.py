from tests.support.toy_lake import lake as lake
from tests.support.toy_lake import spoil as spoil
