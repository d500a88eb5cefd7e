"""The script of a Glue job: all else comes with the wheel."""

from lakehouse.integrations.aws.glue_script import main

main()
