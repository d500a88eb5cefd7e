from lakehouse.asset import *
