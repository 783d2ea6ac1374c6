"""The command gyro."""
