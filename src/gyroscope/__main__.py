"""``python -m gyroscope`` is the command ``gyro``."""

from gyroscope.cli import main

main()
